-- Rows of any dataset that are not the same at two moments: a line a column that differs, with the batch that made the newer row.
SELECT
    {dataset:String} AS dataset, instrument, {interval:String} AS interval, timestamp, if({interval:String} = '', kind, '') AS rate_type,
    multiIf(empty(was), 'added', empty(became), 'removed', 'changed') AS change,
    name AS column, nullIf(arrayFirst(c -> c.1 = name, was).2, '') AS old, nullIf(arrayFirst(c -> c.1 = name, became).2, '') AS new,
    origin.1 AS batch_id, origin.2 AS source, origin.3 AS ingested_at, origin.4 AS published_at
FROM
(
    SELECT
        instrument, timestamp, kind, anyIf(row, side = 'old') AS was, anyIf(row, side = 'new') AS became,
        argMax(tuple(batch, toString(said_by), ingested_at, published_at), side = 'new') AS origin
    FROM
    (
        SELECT
            'old' AS side, concat(venue, '.', replaceOne(symbol, '/', '-')) AS instrument, toString({series:Identifier}) AS kind, timestamp,
            toString(batch_id) AS batch, source AS said_by, ingested_at, published_at,
            JSONExtractKeysAndValuesRaw(formatRowNoNewline('JSONEachRow', * EXCEPT (
                instrument_id, venue, symbol, timestamp, batch_id, ingested_at, version, published_at))) AS row
        FROM
        (
            SELECT * FROM {database:Identifier}.{history:Identifier}
            WHERE published_at <= {old_as_of:DateTime64(3, 'UTC')} AND instrument_id IN {old_instruments:Array(UInt32)}
                AND ({interval:String} = '' OR toString({series:Identifier}) = {interval:String})
                AND timestamp >= {old_start:DateTime64(3, 'UTC')} AND timestamp < {old_end:DateTime64(3, 'UTC')}
            ORDER BY instrument_id, {series:Identifier}, timestamp, version DESC, published_at
            LIMIT 1 BY instrument_id, {series:Identifier}, timestamp
        )
        UNION ALL
        SELECT
            'new' AS side, concat(venue, '.', replaceOne(symbol, '/', '-')) AS instrument, toString({series:Identifier}) AS kind, timestamp,
            toString(batch_id) AS batch, source AS said_by, ingested_at, published_at,
            JSONExtractKeysAndValuesRaw(formatRowNoNewline('JSONEachRow', * EXCEPT (
                instrument_id, venue, symbol, timestamp, batch_id, ingested_at, version, published_at))) AS row
        FROM
        (
            SELECT * FROM {database:Identifier}.{history:Identifier}
            WHERE published_at <= {new_as_of:DateTime64(3, 'UTC')} AND instrument_id IN {new_instruments:Array(UInt32)}
                AND ({interval:String} = '' OR toString({series:Identifier}) = {interval:String})
                AND timestamp >= {new_start:DateTime64(3, 'UTC')} AND timestamp < {new_end:DateTime64(3, 'UTC')}
            ORDER BY instrument_id, {series:Identifier}, timestamp, version DESC, published_at
            LIMIT 1 BY instrument_id, {series:Identifier}, timestamp
        )
    )
    GROUP BY instrument, timestamp, kind
    HAVING toString(was) != toString(became)
    ORDER BY instrument, timestamp, kind
    LIMIT {limit:UInt32}
)
ARRAY JOIN arrayDistinct(arrayConcat(arrayMap(c -> c.1, was), arrayMap(c -> c.1, became))) AS name
WHERE old IS DISTINCT FROM new
ORDER BY instrument, timestamp, kind, name
