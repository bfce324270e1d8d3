-- Days that v_fear_greed shows more than once.
SELECT day, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.v_fear_greed
WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
GROUP BY day
HAVING rows > 1
ORDER BY day
