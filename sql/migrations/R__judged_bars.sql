-- The rules of valid bars, once: staging takes the rows whose rule is empty, rejected_rows the others.
-- Order matters: a row is named after the first rule it breaks.

CREATE OR REPLACE VIEW analytics.judged_bars
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length, such as 1m',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time as the venue gave it',
    close_time Nullable(DateTime64(3, 'UTC')) COMMENT 'Close time as the venue gave it',
    open Nullable(Float64) COMMENT 'First price, in quote',
    high Nullable(Float64) COMMENT 'Highest price, in quote',
    low Nullable(Float64) COMMENT 'Lowest price, in quote',
    close Nullable(Float64) COMMENT 'Last price, in quote',
    volume Nullable(Float64) COMMENT 'Amount traded, in base',
    quote_volume Nullable(Float64) COMMENT 'Amount traded, in quote',
    contract_volume Nullable(Float64) COMMENT 'Amount traded, in contracts',
    trade_count Nullable(UInt64) COMMENT 'Trades in the bar',
    taker_buy_base_volume Nullable(Float64) COMMENT 'Part of volume whose buyer was the taker',
    taker_buy_quote_volume Nullable(Float64) COMMENT 'The same in quote',
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come',
    version UInt64 COMMENT 'Finality rank of the source (top byte), ingested_at in milliseconds (41 bits), hash of the values (15 bits)',
    is_final Bool COMMENT 'Whether the bar was closed when we asked',
    rule String COMMENT 'First rule the row breaks, empty when it is valid',
    row_hash UInt64 COMMENT 'Hash of the values as they came, for rejected_rows',
    row String COMMENT 'The values as they came, JSON, for rejected_rows'
)
AS SELECT
    instrument_id, venue, symbol, interval, timestamp, close_time, open, high, low, close, volume,
    quote_volume, contract_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume,
    source, batch_id, ingested_at,
    bitShiftLeft(toUInt64(transform(source, ['archive', 'rest', 'ws'], [3, 2, 1], 0)), 56)
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
