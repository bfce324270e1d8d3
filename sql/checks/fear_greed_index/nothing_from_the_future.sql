-- Days that were not over when the answer with them came: the value of the open day still changes.
SELECT timestamp AS first, timestamp AS last, count() AS rows
FROM analytics.v_fear_greed
WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND timestamp + INTERVAL 1 DAY > ingested_at + toIntervalMillisecond({clock_slack_ms:UInt32})
GROUP BY timestamp
ORDER BY timestamp
