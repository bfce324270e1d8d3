-- The last published minute of each instrument, since a time, before the first one that is missing: where its stream goes on.
SELECT instrument_id, min(timestamp) AS last
FROM
(
    SELECT instrument_id, timestamp,
        leadInFrame(timestamp) OVER (PARTITION BY instrument_id ORDER BY timestamp ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS next
    FROM
    (
        SELECT DISTINCT instrument_id, timestamp
        FROM analytics.bars
        WHERE instrument_id IN {instruments:Array(UInt32)} AND interval = '1m' AND timestamp >= {since:DateTime64(3, 'UTC')}
    )
)
WHERE next != timestamp + toIntervalMinute(1) -- after the last one there is none: 1970
GROUP BY instrument_id
