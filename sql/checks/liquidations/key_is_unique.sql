-- Liquidations of an instrument that are published more than once: researchers would add them up twice.
SELECT any(venue) AS venue, any(symbol) AS symbol, min(timestamp) AS first, max(timestamp) AS last, count() AS rows, toString(liquidation_id) AS what
FROM analytics.liquidations FINAL
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
GROUP BY instrument_id, liquidation_id
HAVING rows > 1
ORDER BY venue, symbol, first
