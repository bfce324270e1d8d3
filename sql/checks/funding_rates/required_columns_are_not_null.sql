-- Published settlements without what every row has: who, of which kind, from where, and a rate that is a number.
SELECT venue, symbol, rate_type, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.v_funding
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND (venue = '' OR symbol = '' OR rate_type = '' OR source = '' OR NOT isFinite(rate))
GROUP BY venue, symbol, rate_type
ORDER BY venue, symbol, rate_type
