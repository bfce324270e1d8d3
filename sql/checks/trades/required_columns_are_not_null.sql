-- Published trades without a price, an amount or a side.
SELECT venue, symbol, min(timestamp) AS first, max(timestamp) AS last, count() AS rows, any(toString(trade_id)) AS what
FROM analytics.trades FINAL
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND (NOT isFinite(price) OR NOT isFinite(quantity) OR side NOT IN ('buy', 'sell') OR trade_count = 0)
GROUP BY venue, symbol
ORDER BY venue, symbol
