-- Days of [start, end) of which bars or rows were due, none is there, and not all of that is explained; a row a series.
SELECT instrument_id, interval, count() AS days, min(day) AS first, max(day) AS last, sum(v.expected - v.not_due) AS due
FROM analytics.v_coverage AS v
WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
    AND day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')})
    AND present = 0 AND v.expected > v.not_due AND v.missing > v.explained
GROUP BY instrument_id, interval
ORDER BY instrument_id, interval
