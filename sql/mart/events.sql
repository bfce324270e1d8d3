-- Staging -> the table that researchers read, of rows that never change: ids that it does not have. What was published once stays,
-- whatever came later of the same id: a check names that. Staging says which landed row counts, its values are read where they
-- landed; columns go by their place, which a test holds. A row that landed twice in one batch collapses, as one key. The server says when, never up to the instant of a snapshot.
INSERT INTO {database:Identifier}.{current:Identifier}
SELECT
    * EXCEPT (version, is_final, rule, row_hash, row),
    greatest(now64(3, 'UTC'), (SELECT max(pinned_at) + INTERVAL 1 MILLISECOND FROM analytics.snapshots)) AS published_at
FROM {database:Identifier}.{judged:Identifier}
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND is_final AND rule = ''
    AND (instrument_id, {series:Identifier}) IN
    (
        SELECT instrument_id, argMin(series, since) FROM analytics.published_series WHERE dataset = {dataset:String} GROUP BY instrument_id
    )
    AND cityHash64(instrument_id, {series:Identifier}, {id:Identifier}, version) IN
    (
        SELECT cityHash64(instrument_id, {series:Identifier}, {id:Identifier}, max(version))
        FROM {database:Identifier}.{staging:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, {series:Identifier}, {id:Identifier}
    )
    AND (instrument_id, {id:Identifier}) NOT IN
    (
        SELECT instrument_id, {id:Identifier}
        FROM {database:Identifier}.{current:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
-- Collapsing within the insert costs a third of it and is done again by FINAL and by merges.
SETTINGS optimize_on_insert = 0
