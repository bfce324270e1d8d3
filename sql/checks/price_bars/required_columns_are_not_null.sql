-- Published bars without who, which price and how long.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.price_bars FINAL
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND (venue = '' OR symbol = '' OR interval = '' OR source = '')
GROUP BY venue, symbol, interval
ORDER BY venue, symbol, interval
