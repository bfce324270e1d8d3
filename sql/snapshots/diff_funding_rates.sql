-- Rows of funding_rates that are not the same at two moments: a line a column that differs, with the batch that made the newer row.
WITH
    [
        'timestamp_raw', 'rate', 'predicted_rate', 'mark_price', 'index_price', 'interest_rate',
        'estimated_settle_price', 'next_rate', 'next_timestamp', 'previous_rate', 'previous_timestamp', 'metadata',
        'source'
    ] AS names
SELECT
    'funding_rates' AS dataset, instrument, bar AS interval, timestamp, kind AS rate_type,
    multiIf(empty(was), 'added', empty(became), 'removed', 'changed') AS change,
    names[n] AS column, was[n] AS old, became[n] AS new,
    origin.1 AS batch_id, origin.2 AS source, origin.3 AS ingested_at, origin.4 AS published_at
FROM
(
    SELECT
        instrument, bar, timestamp, kind,
        anyIf(row, side = 'old') AS was, anyIf(row, side = 'new') AS became,
        argMax(tuple(toString(batch_id), toString(source), ingested_at, published_at), side = 'new') AS origin
    FROM
    (
        SELECT
            'old' AS side, concat(venue, '.', replaceOne(symbol, '/', '-')) AS instrument, '' AS bar, rate_type AS kind, timestamp,
            batch_id, source, ingested_at, published_at,
            CAST([
                toString(timestamp_raw), toString(rate), toString(predicted_rate), toString(mark_price),
                toString(index_price), toString(interest_rate), toString(estimated_settle_price), toString(next_rate),
                toString(next_timestamp), toString(previous_rate), toString(previous_timestamp), toString(metadata),
                toString(source)
            ], 'Array(Nullable(String))') AS row
        FROM analytics.funding_rates_as_of(as_of = {old_as_of:DateTime64(3, 'UTC')}, instruments = {old_instruments:Array(UInt32)},
            start = {old_start:DateTime64(3, 'UTC')}, end = {old_end:DateTime64(3, 'UTC')})
        UNION ALL
        SELECT
            'new' AS side, concat(venue, '.', replaceOne(symbol, '/', '-')) AS instrument, '' AS bar, rate_type AS kind, timestamp,
            batch_id, source, ingested_at, published_at,
            CAST([
                toString(timestamp_raw), toString(rate), toString(predicted_rate), toString(mark_price),
                toString(index_price), toString(interest_rate), toString(estimated_settle_price), toString(next_rate),
                toString(next_timestamp), toString(previous_rate), toString(previous_timestamp), toString(metadata),
                toString(source)
            ], 'Array(Nullable(String))') AS row
        FROM analytics.funding_rates_as_of(as_of = {new_as_of:DateTime64(3, 'UTC')}, instruments = {new_instruments:Array(UInt32)},
            start = {new_start:DateTime64(3, 'UTC')}, end = {new_end:DateTime64(3, 'UTC')})
    )
    GROUP BY instrument, bar, timestamp, kind
    HAVING toString(was) != toString(became)
    ORDER BY instrument, bar, timestamp, kind
    LIMIT {limit:UInt32}
)
ARRAY JOIN arrayEnumerate(names) AS n
WHERE old IS DISTINCT FROM new
ORDER BY instrument, bar, timestamp, kind, n
