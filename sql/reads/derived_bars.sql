-- `reads/bars` of bars made of minutes.
WITH false AS nothing
SELECT
    {key:Identifier}, timestamp, source,
    {c0:Identifier}, {c1:Identifier}, {c2:Identifier}, {c3:Identifier}, {c4:Identifier}, {c5:Identifier},
    {c6:Identifier}, {c7:Identifier}, {c8:Identifier}, {c9:Identifier}, {c10:Identifier}, {c11:Identifier},
    {c12:Identifier}, {c13:Identifier}, {c14:Identifier}
FROM analytics.v_derived_bars
WHERE instrument_id IN {instruments:Array(UInt32)} AND interval = {interval:String}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
ORDER BY instrument_id, timestamp
SETTINGS do_not_merge_across_partitions_select_final = 1, output_format_arrow_compression_method = 'none'
