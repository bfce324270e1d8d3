-- Bars that do not open on the grid of their interval. They are published as they came, and fill the slot they open in.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM
(
    SELECT venue, symbol, interval, timestamp, timestamp_unix,
        transform(interval, ['1m', '5m', '15m', '1h', '4h', '1d'], [60000, 300000, 900000, 3600000, 14400000, 86400000], 1) AS step_ms
    FROM analytics.v_bars
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
)
WHERE timestamp_unix % step_ms != 0
GROUP BY venue, symbol, interval
ORDER BY venue, symbol, interval
