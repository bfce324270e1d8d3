-- Events that one of two moments has and the other lacks: a line a row, with the batch that brought it. They never change.
SELECT
    {dataset:String} AS dataset, instrument, '' AS interval, timestamp, kind AS rate_type,
    if(side = 'new', 'added', 'removed') AS change, {id:String} AS column,
    if(side = 'old', told, NULL) AS old, if(side = 'new', told, NULL) AS new, batch_id, said_by AS source, ingested_at, published_at
FROM
(
    SELECT
        any(side) AS side, instrument, kind, toDateTime64(any(timestamp), 3, 'UTC') AS timestamp, toString(number) AS told,
        any(batch_id) AS batch_id, any(said_by) AS said_by, any(ingested_at) AS ingested_at, any(published_at) AS published_at
    FROM
    (
        SELECT
            'old' AS side, concat(venue, '.', replaceOne(symbol, '/', '-')) AS instrument, toString({series:Identifier}) AS kind, timestamp,
            {id:Identifier} AS number, toString(batch_id) AS batch_id, toString(source) AS said_by, ingested_at, published_at
        FROM {database:Identifier}.{history:Identifier} FINAL
        WHERE published_at <= {old_as_of:DateTime64(3, 'UTC')} AND instrument_id IN {old_instruments:Array(UInt32)}
            AND timestamp >= {old_start:DateTime64(3, 'UTC')} AND timestamp < {old_end:DateTime64(3, 'UTC')}
        UNION ALL
        SELECT
            'new', concat(venue, '.', replaceOne(symbol, '/', '-')), toString({series:Identifier}), timestamp,
            {id:Identifier}, toString(batch_id), toString(source), ingested_at, published_at
        FROM {database:Identifier}.{history:Identifier} FINAL
        WHERE published_at <= {new_as_of:DateTime64(3, 'UTC')} AND instrument_id IN {new_instruments:Array(UInt32)}
            AND timestamp >= {new_start:DateTime64(3, 'UTC')} AND timestamp < {new_end:DateTime64(3, 'UTC')}
    )
    GROUP BY instrument, kind, number
    HAVING count() = 1
    ORDER BY instrument, timestamp, kind, number
    LIMIT {limit:UInt32}
)
ORDER BY instrument, timestamp, kind, told
