-- `reads/derived_bars` as it was at one moment: made again of the minutes that were published then. Numbers are packed there, and
-- unpacked here as the columns of derived_bars are.
WITH
    number -> if(number >= 0 AND number < 9007199254740992, number / 100000000, reinterpretAsFloat64(number)) AS unpacked,
    false AS nothing
SELECT
    {key:Identifier}, timestamp, source,
    {c0:Identifier}, {c1:Identifier}, {c2:Identifier}, {c3:Identifier}, {c4:Identifier}, {c5:Identifier},
    {c6:Identifier}, {c7:Identifier}, {c8:Identifier}, {c9:Identifier}, {c10:Identifier}, {c11:Identifier},
    {c12:Identifier}, {c13:Identifier}, {c14:Identifier}
FROM
(
    SELECT
        instrument_id, timestamp, source, close_time, trade_count, minutes_present,
        unpacked(open_e8) AS open, unpacked(high_e8) AS high, unpacked(low_e8) AS low, unpacked(close_e8) AS close, unpacked(volume_e8) AS volume,
        unpacked(quote_volume_e8) AS quote_volume, unpacked(contract_volume_e8) AS contract_volume,
        unpacked(taker_buy_base_volume_e8) AS taker_buy_base_volume, unpacked(taker_buy_quote_volume_e8) AS taker_buy_quote_volume,
        if(volume > 0, quote_volume / volume, NULL) AS vwap,
        toUInt16(transform(interval, ['5m', '15m', '30m', '1h', '4h', '1d'], [5, 15, 30, 60, 240, 1440], 0)) AS minutes_expected,
        CAST(minutes_present = minutes_expected, 'Bool') AS is_complete
    FROM analytics.derived_bars_as_of(
        as_of = {as_of:DateTime64(3, 'UTC')}, instruments = {instruments:Array(UInt32)}, intervals = [{interval:String}],
        start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
)
ORDER BY instrument_id, timestamp
SETTINGS output_format_arrow_compression_method = 'none'
