-- Fear & Greed of [start, end) for a DataFrame, oldest first.
SELECT timestamp, value, classification, source
FROM analytics.v_fear_greed
WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
ORDER BY timestamp
