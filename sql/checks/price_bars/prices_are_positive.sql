-- Published bars of mark and index with a price that is zero, negative or not a number; a premium may be, but for the last.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.price_bars FINAL
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND (NOT (isFinite(open) AND isFinite(high) AND isFinite(low) AND isFinite(close))
        OR (NOT startsWith(interval, 'premium_') AND NOT (open > 0 AND high > 0 AND low > 0 AND close > 0)))
GROUP BY venue, symbol, interval
ORDER BY venue, symbol, interval
