-- Keys that v_funding shows more than once.
SELECT venue, symbol, rate_type, timestamp AS first, timestamp AS last, count() AS rows
FROM analytics.v_funding
WHERE (venue, symbol) IN
    (
        SELECT venue, symbol
        FROM analytics.funding_rates
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
GROUP BY venue, symbol, rate_type, timestamp
HAVING rows > 1
ORDER BY venue, symbol, rate_type, timestamp
