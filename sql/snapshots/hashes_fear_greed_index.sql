-- What the rows of fear_greed_index were at one moment, a hash an instrument and month that does not depend on their order.
-- Changing the hashed columns or their order breaks every snapshot there is. Rows are hashed before the old versions are
-- dropped, because that runs in parallel and lets two columns through the sort where there were fifteen.
-- As a tuple: a NULL among plain arguments makes the hash NULL, and in a tuple it is told from 0.
SELECT
    concat(venue, '.', replaceOne(symbol, '/', '-')) AS instrument, '' AS bar, toStartOfMonth(timestamp) AS month,
    count() AS row_count,
    sum(reinterpretAsUInt64(substring(hash, 1, 8))) AS hash_low,
    sum(reinterpretAsUInt64(substring(hash, 9, 8))) AS hash_high
FROM
(
    SELECT venue, symbol, timestamp, sipHash128(tuple(
        timestamp, value, classification, source)) AS hash
    FROM analytics.fear_greed_index_history
    WHERE published_at <= {as_of:DateTime64(3, 'UTC')}
        AND instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    ORDER BY instrument_id, interval, timestamp, version DESC, published_at
    LIMIT 1 BY instrument_id, interval, timestamp
)
GROUP BY instrument, bar, month
SETTINGS query_plan_execute_functions_after_sorting = 0
