-- `reads/bars` as it was at one moment.
WITH false AS nothing
SELECT
    {key:Identifier}, timestamp, source,
    {c0:Identifier}, {c1:Identifier}, {c2:Identifier}, {c3:Identifier}, {c4:Identifier}, {c5:Identifier},
    {c6:Identifier}, {c7:Identifier}, {c8:Identifier}, {c9:Identifier}, {c10:Identifier}, {c11:Identifier},
    {c12:Identifier}
FROM analytics.bars_as_of(
    as_of = {as_of:DateTime64(3, 'UTC')}, instruments = {instruments:Array(UInt32)}, interval = {interval:String},
    start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
ORDER BY instrument_id, timestamp
SETTINGS output_format_arrow_compression_method = 'none'
