-- Series with closed days of a quality score below the threshold. What is explained needs nobody, and is put aside.
SELECT
    dataset, venue, symbol, interval, toDateTime64(min(day), 3, 'UTC') AS since, count() AS days,
    min(v.score) AS worst, argMin(day, v.score) AS worst_day
FROM analytics.v_coverage AS v
WHERE is_settled AND v.score + 100 * (explained - not_due) / greatest(1, expected - not_due) < {threshold:Float64} AND day >= toDate({since:DateTime64(3, 'UTC')})
    AND instrument_id IN {instruments:Array(UInt32)}
GROUP BY dataset, venue, symbol, interval
ORDER BY dataset, venue, symbol, interval
