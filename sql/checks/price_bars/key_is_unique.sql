-- Keys that v_price_bars shows more than once.
SELECT venue, symbol, series AS interval, timestamp AS first, timestamp AS last, count() AS rows
FROM analytics.v_price_bars
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
GROUP BY venue, symbol, interval, timestamp
HAVING rows > 1
ORDER BY venue, symbol, interval, timestamp
