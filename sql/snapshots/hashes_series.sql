-- What the rows of any dataset were at one moment, a hash an instrument and month that does not depend on their order: of all its
-- columns but ids and when we learnt of a row. A dataset whose hashes are promised to snapshots has a statement of its own.
SELECT
    instrument_id, {interval:String} AS bar, toStartOfMonth(timestamp) AS month,
    count() AS row_count, sum(low) AS hash_low, sum(high) AS hash_high
FROM
(
    SELECT
        instrument_id, timestamp,
        cityHash64(tuple(* EXCEPT (instrument_id, batch_id, ingested_at, version, published_at))) AS low,
        xxHash64(tuple(* EXCEPT (instrument_id, batch_id, ingested_at, version, published_at))) AS high
    FROM {database:Identifier}.{history:Identifier}
    WHERE published_at <= {as_of:DateTime64(3, 'UTC')}
        AND instrument_id IN {instruments:Array(UInt32)} AND ({interval:String} = '' OR toString({series:Identifier}) = {interval:String})
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    ORDER BY instrument_id, {series:Identifier}, timestamp, version DESC, published_at
    LIMIT 1 BY instrument_id, {series:Identifier}, timestamp
)
GROUP BY instrument_id, month
SETTINGS query_plan_execute_functions_after_sorting = 0
