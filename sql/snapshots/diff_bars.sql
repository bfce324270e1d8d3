-- Rows of bars that are not the same at two moments: a line a column that differs, with the batch that made the newer row.
WITH
    [
        'open', 'high', 'low', 'close', 'volume', 'quote_volume', 'contract_volume', 'trade_count',
        'taker_buy_base_volume', 'taker_buy_quote_volume', 'close_time', 'source'
    ] AS names
SELECT
    'bars' AS dataset, instrument, bar AS interval, timestamp, kind AS rate_type,
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
            'old' AS side, concat(venue, '.', replaceOne(symbol, '/', '-')) AS instrument, interval AS bar, '' AS kind, timestamp,
            batch_id, source, ingested_at, published_at,
            CAST([
                toString(open), toString(high), toString(low), toString(close), toString(volume),
                toString(quote_volume), toString(contract_volume), toString(trade_count),
                toString(taker_buy_base_volume), toString(taker_buy_quote_volume), toString(close_time),
                toString(source)
            ], 'Array(Nullable(String))') AS row
        FROM analytics.bars_as_of(as_of = {old_as_of:DateTime64(3, 'UTC')}, instruments = {old_instruments:Array(UInt32)}, interval = {interval:String},
            start = {old_start:DateTime64(3, 'UTC')}, end = {old_end:DateTime64(3, 'UTC')})
        UNION ALL
        SELECT
            'new' AS side, concat(venue, '.', replaceOne(symbol, '/', '-')) AS instrument, interval AS bar, '' AS kind, timestamp,
            batch_id, source, ingested_at, published_at,
            CAST([
                toString(open), toString(high), toString(low), toString(close), toString(volume),
                toString(quote_volume), toString(contract_volume), toString(trade_count),
                toString(taker_buy_base_volume), toString(taker_buy_quote_volume), toString(close_time),
                toString(source)
            ], 'Array(Nullable(String))') AS row
        FROM analytics.bars_as_of(as_of = {new_as_of:DateTime64(3, 'UTC')}, instruments = {new_instruments:Array(UInt32)}, interval = {interval:String},
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
