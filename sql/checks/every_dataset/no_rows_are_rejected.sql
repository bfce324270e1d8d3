-- Rows that broke a rule on the way into staging, by rule. They are kept in rejected_rows as they came.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows, rule AS what
FROM analytics.rejected_rows FINAL
WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
GROUP BY venue, symbol, interval, rule
ORDER BY venue, symbol, interval, rule
