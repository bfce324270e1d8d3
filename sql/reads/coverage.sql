-- Coverage of each series of some instruments over all its days.
SELECT dataset, venue, symbol, interval, min(day) AS first_day, max(day) AS last_day, count() AS days,
    sum(v.expected) AS expected, sum(v.present) AS present, sum(missing) AS missing, sum(explained) AS explained, sum(v.not_due) AS not_due,
    if(expected = not_due, 100, floor(100 * present / (expected - not_due), 2)) AS completeness,
    sum(rejected) AS rejected, sum(off_grid) AS off_grid, sum(revised) AS revised, sum(frozen) AS frozen,
    round(avg(v.score), 2) AS score, min(v.score) AS score_min, max(v.is_sampled) AS is_sampled
FROM analytics.v_coverage AS v
WHERE instrument_id IN {instruments:Array(UInt32)}
GROUP BY dataset, venue, symbol, interval
ORDER BY dataset, venue, symbol, interval
