-- Coverage of some instruments in [start, end), in one row.
SELECT count() AS days, min(score) AS score_min, avg(score) AS score_mean,
    sum(expected) AS expected, sum(present) AS present, sum(missing) AS missing, sum(explained) AS explained
FROM analytics.v_coverage
WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
    AND day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')})
