-- The rules of valid bars, once: staging takes the rows whose rule is empty, rejected_rows the others.
-- Order matters: a row is named after the first rule it breaks. Numbers leave here packed, as history and bars keep them.

CREATE OR REPLACE VIEW analytics.judged_bars
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length, such as 1m',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time as the venue gave it',
    close_time Nullable(DateTime64(3, 'UTC')) COMMENT 'Close time as the venue gave it',
    open_e8 Int64 COMMENT 'open as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53',
    high_e8 Int64 COMMENT 'high as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53',
    low_e8 Int64 COMMENT 'low as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53',
    close_e8 Int64 COMMENT 'close as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53',
    volume_e8 Int64 COMMENT 'volume as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53',
    quote_volume_e8 Nullable(Int64) COMMENT 'quote_volume as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53',
    contract_volume_e8 Nullable(Int64) COMMENT 'contract_volume as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53',
    trade_count Nullable(UInt64) COMMENT 'Trades in the bar',
    taker_buy_base_volume_e8 Nullable(Int64) COMMENT 'taker_buy_base_volume as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53',
    taker_buy_quote_volume_e8 Nullable(Int64) COMMENT 'taker_buy_quote_volume as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53',
    source LowCardinality(String) COMMENT 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none), ws, or file (alphaforge ingest)',
    batch_id UUID COMMENT 'Batch that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come',
    version UInt64 COMMENT 'Finality rank of the source (top byte), ingested_at in milliseconds (41 bits), hash of the values (15 bits)',
    is_final Bool COMMENT 'Whether the bar was closed when we asked',
    rule String COMMENT 'First rule the row breaks, empty when it is valid',
    row_hash UInt64 COMMENT 'Hash of the values as they came, for rejected_rows',
    row String COMMENT 'The values as they came, JSON, for rejected_rows'
)
AS SELECT
    instrument_id, venue, symbol, interval, timestamp, close_time,
    if(reinterpretAsUInt64(toInt64(round(if(assumeNotNull(open) >= 0 AND assumeNotNull(open) < 90071992, assumeNotNull(open), 0) * 100000000)) / 100000000) = reinterpretAsUInt64(assumeNotNull(open)), toInt64(round(if(assumeNotNull(open) >= 0 AND assumeNotNull(open) < 90071992, assumeNotNull(open), 0) * 100000000)), reinterpretAsInt64(assumeNotNull(open))) AS open_e8,
    if(reinterpretAsUInt64(toInt64(round(if(assumeNotNull(high) >= 0 AND assumeNotNull(high) < 90071992, assumeNotNull(high), 0) * 100000000)) / 100000000) = reinterpretAsUInt64(assumeNotNull(high)), toInt64(round(if(assumeNotNull(high) >= 0 AND assumeNotNull(high) < 90071992, assumeNotNull(high), 0) * 100000000)), reinterpretAsInt64(assumeNotNull(high))) AS high_e8,
    if(reinterpretAsUInt64(toInt64(round(if(assumeNotNull(low) >= 0 AND assumeNotNull(low) < 90071992, assumeNotNull(low), 0) * 100000000)) / 100000000) = reinterpretAsUInt64(assumeNotNull(low)), toInt64(round(if(assumeNotNull(low) >= 0 AND assumeNotNull(low) < 90071992, assumeNotNull(low), 0) * 100000000)), reinterpretAsInt64(assumeNotNull(low))) AS low_e8,
    if(reinterpretAsUInt64(toInt64(round(if(assumeNotNull(close) >= 0 AND assumeNotNull(close) < 90071992, assumeNotNull(close), 0) * 100000000)) / 100000000) = reinterpretAsUInt64(assumeNotNull(close)), toInt64(round(if(assumeNotNull(close) >= 0 AND assumeNotNull(close) < 90071992, assumeNotNull(close), 0) * 100000000)), reinterpretAsInt64(assumeNotNull(close))) AS close_e8,
    if(reinterpretAsUInt64(toInt64(round(if(assumeNotNull(volume) >= 0 AND assumeNotNull(volume) < 90071992, assumeNotNull(volume), 0) * 100000000)) / 100000000) = reinterpretAsUInt64(assumeNotNull(volume)), toInt64(round(if(assumeNotNull(volume) >= 0 AND assumeNotNull(volume) < 90071992, assumeNotNull(volume), 0) * 100000000)), reinterpretAsInt64(assumeNotNull(volume))) AS volume_e8,
    if(reinterpretAsUInt64(toInt64(round(if(quote_volume >= 0 AND quote_volume < 90071992, quote_volume, 0) * 100000000)) / 100000000) = reinterpretAsUInt64(quote_volume), toInt64(round(if(quote_volume >= 0 AND quote_volume < 90071992, quote_volume, 0) * 100000000)), reinterpretAsInt64(quote_volume)) AS quote_volume_e8,
    if(reinterpretAsUInt64(toInt64(round(if(contract_volume >= 0 AND contract_volume < 90071992, contract_volume, 0) * 100000000)) / 100000000) = reinterpretAsUInt64(contract_volume), toInt64(round(if(contract_volume >= 0 AND contract_volume < 90071992, contract_volume, 0) * 100000000)), reinterpretAsInt64(contract_volume)) AS contract_volume_e8,
    trade_count,
    if(reinterpretAsUInt64(toInt64(round(if(taker_buy_base_volume >= 0 AND taker_buy_base_volume < 90071992, taker_buy_base_volume, 0) * 100000000)) / 100000000) = reinterpretAsUInt64(taker_buy_base_volume), toInt64(round(if(taker_buy_base_volume >= 0 AND taker_buy_base_volume < 90071992, taker_buy_base_volume, 0) * 100000000)), reinterpretAsInt64(taker_buy_base_volume)) AS taker_buy_base_volume_e8,
    if(reinterpretAsUInt64(toInt64(round(if(taker_buy_quote_volume >= 0 AND taker_buy_quote_volume < 90071992, taker_buy_quote_volume, 0) * 100000000)) / 100000000) = reinterpretAsUInt64(taker_buy_quote_volume), toInt64(round(if(taker_buy_quote_volume >= 0 AND taker_buy_quote_volume < 90071992, taker_buy_quote_volume, 0) * 100000000)), reinterpretAsInt64(taker_buy_quote_volume)) AS taker_buy_quote_volume_e8,
    source, batch_id, ingested_at,
    -- A file's row without what REST has beside it does not outrank REST's: a NULL never hides a value. What is not in the list,
    -- `file` of alphaforge ingest, has rank 0: below every word of a venue.
    bitShiftLeft(toUInt64(if(source IN ('archive_daily', 'archive_monthly', 'archive_unverified') AND (quote_volume IS NULL OR trade_count IS NULL
            OR taker_buy_base_volume IS NULL OR taker_buy_quote_volume IS NULL), 1,
        transform(source, ['archive_daily', 'archive_monthly', 'archive', 'rest', 'archive_unverified', 'ws'], [4, 3, 3, 2, 2, 1], 0))), 56)
        + bitShiftLeft(toUInt64(toUnixTimestamp64Milli(ingested_at)), 15)
        + bitAnd(cityHash64(tuple(close_time, open, high, low, close, volume, quote_volume, contract_volume, trade_count,
            taker_buy_base_volume, taker_buy_quote_volume)), 32767) AS version,
    is_closed AS is_final,
    multiIf(
        open IS NULL OR high IS NULL OR low IS NULL OR close IS NULL OR volume IS NULL, 'required_columns_are_not_null',
        NOT (isFinite(assumeNotNull(open)) AND isFinite(assumeNotNull(high)) AND isFinite(assumeNotNull(low))
            AND isFinite(assumeNotNull(close)) AND isFinite(assumeNotNull(volume))), 'numbers_are_finite',
        assumeNotNull(open) <= 0 OR assumeNotNull(high) <= 0 OR assumeNotNull(low) <= 0 OR assumeNotNull(close) <= 0, 'prices_are_positive',
        assumeNotNull(volume) < 0, 'volume_is_not_negative',
        assumeNotNull(high) < greatest(assumeNotNull(open), assumeNotNull(close), assumeNotNull(low))
            OR assumeNotNull(low) > least(assumeNotNull(open), assumeNotNull(close)), 'ohlc_is_sane',
        ''
    ) AS rule,
    cityHash64(tuple(close_time, open, high, low, close, volume, quote_volume, contract_volume, trade_count,
        taker_buy_base_volume, taker_buy_quote_volume, is_closed, metadata)) AS row_hash,
    toJSONString(map(
        'open', toString(open), 'high', toString(high), 'low', toString(low), 'close', toString(close),
        'volume', toString(volume), 'quote_volume', toString(quote_volume), 'metadata', metadata)) AS row
FROM analytics.landing_bars
COMMENT 'landing_bars with the version of each row and the first rule it breaks. Internal: the one place where the rules stand.';
