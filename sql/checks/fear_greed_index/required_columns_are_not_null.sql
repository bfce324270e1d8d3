-- Published days without what every row has: a word for the value, and where it came from.
SELECT min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.v_fear_greed
WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')} AND (classification = '' OR source = '')
HAVING rows > 0
