-- Trades of some instruments for a reader, in the order they were traded. Columns are bound by name, those not wanted as `nothing`.
-- What was published by a moment, or by now if that is later: `instant`, which `key` may ask for. The partition is a function of the key, so a trade never lies in two of them.
WITH false AS nothing, least({as_of:DateTime64(3, 'UTC')}, now64(3, 'UTC')) AS instant
SELECT
    {key:Identifier}, timestamp,
    {c0:Identifier}, {c1:Identifier}, {c2:Identifier}, {c3:Identifier}, {c4:Identifier}, {c5:Identifier},
    {c6:Identifier}, {c7:Identifier}, {c8:Identifier}, {c9:Identifier}, {c10:Identifier}, {c11:Identifier}, {c12:Identifier}
FROM analytics.v_trades
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND published_at <= instant
ORDER BY instrument_id, trade_kind, timestamp, trade_id
SETTINGS do_not_merge_across_partitions_select_final = 1, output_format_arrow_compression_method = 'none'
