-- Published bars with a negative volume, or one that is not a number.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.v_bars
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND (NOT (volume >= 0) OR quote_volume < 0 OR contract_volume < 0)
GROUP BY venue, symbol, interval
ORDER BY venue, symbol, interval
