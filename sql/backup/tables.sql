-- The tables to back up: all of ours but the migrator's own and what is kept for a day only; and by which column pieces are cut.
SELECT
    name,
    if(name IN (SELECT table FROM system.columns WHERE database = 'analytics' AND name = 'instrument_id'),
        'instrument_id', '_partition_id') AS cut_by,
    toUInt64(total_rows) AS row_count
FROM system.tables
WHERE database = 'analytics' AND engine LIKE '%MergeTree' AND name NOT LIKE 'flyway_schema_history%' AND name != 'gap_candidates'
ORDER BY name
