-- Published values outside of the scale.
SELECT value, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.v_fear_greed
WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')} AND value > 100
GROUP BY value
ORDER BY value
