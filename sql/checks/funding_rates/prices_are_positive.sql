-- Settlements whose mark, index or settle price is there and is zero or negative: venues that have none send an empty text, which is NULL.
SELECT venue, symbol, rate_type, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.v_funding
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND NOT (coalesce(mark_price, 1) > 0 AND coalesce(index_price, 1) > 0 AND coalesce(estimated_settle_price, 1) > 0)
GROUP BY venue, symbol, rate_type
ORDER BY venue, symbol, rate_type
