-- What the rows of funding_rates were at one moment, a hash an instrument and month that does not depend on their order.
-- Changing the hashed columns, their order or the functions breaks every snapshot there is. Rows are hashed before the old
-- versions are dropped, because that runs in parallel and lets two numbers through the sort where there were 17 columns.
-- Two functions of different families, together about half of what sipHash128 costs on many columns. Of a tuple: a NULL among plain
-- arguments makes the hash NULL, and in a tuple it is told from 0.
SELECT
    instrument_id, '' AS bar, toStartOfMonth(timestamp) AS month,
    count() AS row_count, sum(low) AS hash_low, sum(high) AS hash_high
FROM
(
    SELECT
        instrument_id, timestamp,
        cityHash64(tuple(
            timestamp, venue, symbol, rate_type, timestamp_raw, rate, predicted_rate, mark_price,
            index_price, interest_rate, estimated_settle_price, next_rate, next_timestamp, previous_rate,
            previous_timestamp, metadata, source
        )) AS low,
        xxHash64(tuple(
            timestamp, venue, symbol, rate_type, timestamp_raw, rate, predicted_rate, mark_price,
            index_price, interest_rate, estimated_settle_price, next_rate, next_timestamp, previous_rate,
            previous_timestamp, metadata, source
        )) AS high
    FROM analytics.funding_rates_history
    WHERE published_at <= {as_of:DateTime64(3, 'UTC')}
        AND instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    ORDER BY instrument_id, rate_type, timestamp, version DESC, published_at
    LIMIT 1 BY instrument_id, rate_type, timestamp
)
GROUP BY instrument_id, month
SETTINGS query_plan_execute_functions_after_sorting = 0
