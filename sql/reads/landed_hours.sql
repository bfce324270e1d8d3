-- Hours of a rectangle in which something has landed, and how much, so that no statement meets too many rows.
SELECT toStartOfHour(timestamp) AS hour, count() AS rows
FROM {database:Identifier}.{landing:Identifier}
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
GROUP BY hour
ORDER BY hour
