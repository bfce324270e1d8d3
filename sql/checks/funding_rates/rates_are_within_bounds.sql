-- Settled rates beyond what the venue allowed the instrument, or beyond 5 % where that is not known.
SELECT
    venue, symbol, rate_type, min(timestamp) AS first, max(timestamp) AS last, count() AS rows,
    argMax(rate, abs(rate)) AS worst_rate, argMax(rate_bound, abs(rate)) AS its_bound
FROM analytics.v_funding
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND is_out_of_bounds
GROUP BY venue, symbol, rate_type
ORDER BY venue, symbol, rate_type
