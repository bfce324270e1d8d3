-- Bars that do not open on the grid of their interval. They are published as they came, and fill the slot they open in.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM {database:Identifier}.{current:Identifier} FINAL
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND timestamp_unix % step_ms != 0
GROUP BY venue, symbol, interval
ORDER BY venue, symbol, interval
