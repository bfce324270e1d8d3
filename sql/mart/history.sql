-- Staging -> history: only rows whose values differ from the last published version of their key. A rerun adds nothing.
-- Staging says which landed row counts, its values are read where they landed: columns go by their place, which a test holds.
-- The values are all columns but the key and where the row came from, so that none can be forgotten here.
-- The server says when, and never up to the instant of a snapshot, whatever its clock does: see research/snapshots.py.
INSERT INTO {database:Identifier}.{history:Identifier}
SELECT
    staged.* EXCEPT (series, content),
    greatest(now64(3, 'UTC'), (SELECT max(pinned_at) + INTERVAL 1 MILLISECOND FROM analytics.snapshots)) AS published_at
FROM
(
    SELECT
        * EXCEPT (is_final, rule, row_hash, row), {series:Identifier} AS series,
        cityHash64(tuple(* EXCEPT (instrument_id, venue, symbol, interval, timestamp, source, batch_id, ingested_at, version,
            is_final, rule, row_hash, row))) AS content
    FROM {database:Identifier}.{judged:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND is_final AND rule = ''
        -- As one hash, which costs a quarter of a set of tuples. Two that are equal by chance would publish a valid row early.
        AND cityHash64(instrument_id, {series:Identifier}, timestamp, version) IN
        (
            SELECT cityHash64(instrument_id, {series:Identifier}, timestamp, version)
            FROM {database:Identifier}.{staging:Identifier}
            WHERE instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        )
    ORDER BY instrument_id, series, timestamp, version DESC
    LIMIT 1 BY instrument_id, series, timestamp
) AS staged
LEFT ANTI JOIN
(
    SELECT
        instrument_id, {series:Identifier} AS series, timestamp,
        argMax(
            cityHash64(tuple(* EXCEPT (instrument_id, venue, symbol, interval, timestamp, source, batch_id, ingested_at, version, published_at))),
            version) AS content
    FROM {database:Identifier}.{history:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, series, timestamp
) AS published
ON staged.instrument_id = published.instrument_id AND staged.series = published.series AND staged.timestamp = published.timestamp
    AND staged.content = published.content
-- Collapsing within the insert costs a third of it and is done again by FINAL and by merges.
SETTINGS optimize_on_insert = 0
