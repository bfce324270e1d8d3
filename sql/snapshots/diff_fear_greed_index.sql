-- Rows of fear_greed_index that are not the same at two moments: a line a column that differs, with the batch that made the newer row.
WITH
    [
        'value', 'classification', 'source'
    ] AS names
SELECT
    'fear_greed_index' AS dataset, instrument, bar AS interval, timestamp, kind AS rate_type,
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
            'old' AS side, 'alternative_me.FEAR-GREED' AS instrument, '' AS bar, '' AS kind, timestamp,
            batch_id, source, ingested_at, published_at,
            CAST([
                toString(value), toString(classification), toString(source)
            ], 'Array(Nullable(String))') AS row
        FROM analytics.fear_greed_index_as_of(as_of = {old_as_of:DateTime64(3, 'UTC')}, instruments = {old_instruments:Array(UInt32)},
            start = {old_start:DateTime64(3, 'UTC')}, end = {old_end:DateTime64(3, 'UTC')})
        UNION ALL
        SELECT
            'new' AS side, 'alternative_me.FEAR-GREED' AS instrument, '' AS bar, '' AS kind, timestamp,
            batch_id, source, ingested_at, published_at,
            CAST([
                toString(value), toString(classification), toString(source)
            ], 'Array(Nullable(String))') AS row
        FROM analytics.fear_greed_index_as_of(as_of = {new_as_of:DateTime64(3, 'UTC')}, instruments = {new_instruments:Array(UInt32)},
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
