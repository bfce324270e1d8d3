-- Published bars without what every venue we speak sends: who, how long, and the volume in quote.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.v_bars
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND (venue = '' OR symbol = '' OR interval = '' OR source = '' OR quote_volume IS NULL)
GROUP BY venue, symbol, interval
ORDER BY venue, symbol, interval
