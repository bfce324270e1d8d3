-- Values that are not of the start of a day: the source gives one a day, at midnight UTC.
SELECT timestamp AS first, timestamp AS last, count() AS rows
FROM analytics.v_fear_greed
WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')} AND timestamp != toStartOfDay(timestamp)
GROUP BY timestamp
ORDER BY timestamp
