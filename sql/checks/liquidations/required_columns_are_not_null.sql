-- Published liquidations without a price, an amount, a side or a word on whose position it was.
SELECT venue, symbol, min(timestamp) AS first, max(timestamp) AS last, count() AS rows, any(toString(liquidation_id)) AS what
FROM analytics.liquidations FINAL
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND (NOT isFinite(price) OR NOT isFinite(quantity) OR (order_side, position_side) NOT IN (('buy', 'short'), ('sell', 'long')))
GROUP BY venue, symbol
ORDER BY venue, symbol
