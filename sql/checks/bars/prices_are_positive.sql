-- Published bars with a price that is zero, negative or not a number.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.v_bars
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND (NOT (open > 0 AND high > 0 AND low > 0 AND close > 0))
GROUP BY venue, symbol, interval
ORDER BY venue, symbol, interval
