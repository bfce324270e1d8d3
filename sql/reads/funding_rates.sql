-- Funding settlements of one instrument for a DataFrame, oldest first.
SELECT
    timestamp, rate_type, rate, predicted_rate, mark_price, interval_hours, rate_bound, is_out_of_bounds, source
FROM analytics.v_funding
WHERE instrument_id = {instrument_id:UInt32}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
ORDER BY timestamp, rate_type
