-- What the rows of fear_greed_index were at one moment, a hash an instrument and month that does not depend on their order.
-- Changing the hashed columns, their order or the functions breaks every snapshot there is. Rows are hashed before the old
-- versions are dropped, because that runs in parallel and lets two numbers through the sort where there were 7 columns.
-- Two functions of different families, together about half of what sipHash128 costs on many columns. Of a tuple: a NULL among plain
-- arguments makes the hash NULL, and in a tuple it is told from 0.
SELECT
    instrument_id, '' AS bar, toStartOfMonth(timestamp) AS month,
    count() AS row_count, sum(low) AS hash_low, sum(high) AS hash_high
FROM
(
    SELECT
        instrument_id, timestamp,
        cityHash64(tuple(timestamp, venue, symbol, interval, value, classification, source)) AS low,
        xxHash64(tuple(timestamp, venue, symbol, interval, value, classification, source)) AS high
    FROM analytics.fear_greed_index_history
    WHERE published_at <= {as_of:DateTime64(3, 'UTC')}
        AND instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    ORDER BY instrument_id, interval, timestamp, version DESC, published_at
    LIMIT 1 BY instrument_id, interval, timestamp
)
GROUP BY instrument_id, month
SETTINGS query_plan_execute_functions_after_sorting = 0
