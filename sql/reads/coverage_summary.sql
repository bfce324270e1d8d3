-- Coverage of some instruments in [start, end), in one row.
SELECT count() AS days, min(score) AS score_min, avg(score) AS score_mean,
    sum(v.expected) AS expected, sum(v.present) AS present, sum(missing) AS missing, sum(explained) AS explained, sum(v.not_due) AS not_due,
    if(expected = not_due, 100, floor(100 * present / (expected - not_due), 2)) AS completeness
FROM analytics.v_coverage AS v
WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
    AND day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')})
