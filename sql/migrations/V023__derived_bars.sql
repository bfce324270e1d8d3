-- Bars of our own, made of the published 1m bars only. No history of theirs: what they were follows from bars_history, see
-- derived_bars_as_of and decision 0044.

CREATE TABLE IF NOT EXISTS analytics.derived_bars
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length: 5m, 15m, 30m, 1h, 4h or 1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the bucket, whose minutes are those that open in it' CODEC(DoubleDelta, ZSTD(1)),
    close_time Nullable(DateTime64(3, 'UTC')) COMMENT 'Close time of the last minute, NULL if the venue gives none' CODEC(DoubleDelta, ZSTD(1)),
    open_e8 Int64 COMMENT 'open as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53' CODEC(Delta, ZSTD(3)),
    high_e8 Int64 COMMENT 'high as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53' CODEC(Delta, ZSTD(3)),
    low_e8 Int64 COMMENT 'low as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53' CODEC(Delta, ZSTD(3)),
    close_e8 Int64 COMMENT 'close as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53' CODEC(Delta, ZSTD(3)),
    volume_e8 Int64 COMMENT 'volume as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53' CODEC(ZSTD(3)),
    quote_volume_e8 Nullable(Int64) COMMENT 'quote_volume as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53' CODEC(ZSTD(3)),
    contract_volume_e8 Nullable(Int64) COMMENT 'contract_volume as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53' CODEC(ZSTD(3)),
    trade_count Nullable(UInt64) COMMENT 'Trades in the bar, NULL if a minute does not say' CODEC(T64('bit'), ZSTD(1)),
    taker_buy_base_volume_e8 Nullable(Int64) COMMENT 'taker_buy_base_volume as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53' CODEC(ZSTD(3)),
    taker_buy_quote_volume_e8 Nullable(Int64) COMMENT 'taker_buy_quote_volume as it is kept: in units of 1e-8 where that gives the very same Float64, else the bits of the Float64, which are no number of 0 to 2^53' CODEC(ZSTD(3)),
    minutes_present UInt16 COMMENT 'Minutes of the bucket that have a bar' CODEC(T64('bit'), ZSTD(1)),
    source LowCardinality(String) COMMENT 'derived: made of minutes, whose own sources are in bars',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the minute published last' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the latest answer of the venue for a minute had come' CODEC(ZSTD(1)),
    published_at DateTime64(3, 'UTC') COMMENT 'When the last of its minutes was published' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'How often the bar was made or changed: the highest is the truth' CODEC(T64('bit'), ZSTD(1)),
    timestamp_unix Int64 ALIAS toUnixTimestamp64Milli(timestamp) COMMENT 'Start of the bucket, milliseconds since 1970',
    step_ms Int64 ALIAS transform(interval, ['5m', '15m', '30m', '1h', '4h', '1d'], [300000, 900000, 1800000, 3600000, 14400000, 86400000], 0) COMMENT 'Bar length in milliseconds',
    open Float64 ALIAS if(open_e8 >= 0 AND open_e8 < 9007199254740992, open_e8 / 100000000, reinterpretAsFloat64(open_e8)) COMMENT 'First price, in quote',
    high Float64 ALIAS if(high_e8 >= 0 AND high_e8 < 9007199254740992, high_e8 / 100000000, reinterpretAsFloat64(high_e8)) COMMENT 'Highest price, in quote',
    low Float64 ALIAS if(low_e8 >= 0 AND low_e8 < 9007199254740992, low_e8 / 100000000, reinterpretAsFloat64(low_e8)) COMMENT 'Lowest price, in quote',
    close Float64 ALIAS if(close_e8 >= 0 AND close_e8 < 9007199254740992, close_e8 / 100000000, reinterpretAsFloat64(close_e8)) COMMENT 'Last price, in quote',
    volume Float64 ALIAS if(volume_e8 >= 0 AND volume_e8 < 9007199254740992, volume_e8 / 100000000, reinterpretAsFloat64(volume_e8)) COMMENT 'Amount traded, in base',
    quote_volume Nullable(Float64) ALIAS if(quote_volume_e8 >= 0 AND quote_volume_e8 < 9007199254740992, quote_volume_e8 / 100000000, reinterpretAsFloat64(quote_volume_e8)) COMMENT 'Amount traded, in quote, NULL if a minute does not say',
    contract_volume Nullable(Float64) ALIAS if(contract_volume_e8 >= 0 AND contract_volume_e8 < 9007199254740992, contract_volume_e8 / 100000000, reinterpretAsFloat64(contract_volume_e8)) COMMENT 'Amount traded, in contracts, NULL if a minute does not say',
    taker_buy_base_volume Nullable(Float64) ALIAS if(taker_buy_base_volume_e8 >= 0 AND taker_buy_base_volume_e8 < 9007199254740992, taker_buy_base_volume_e8 / 100000000, reinterpretAsFloat64(taker_buy_base_volume_e8)) COMMENT 'Part of volume whose buyer was the taker, NULL if a minute does not say',
    taker_buy_quote_volume Nullable(Float64) ALIAS if(taker_buy_quote_volume_e8 >= 0 AND taker_buy_quote_volume_e8 < 9007199254740992, taker_buy_quote_volume_e8 / 100000000, reinterpretAsFloat64(taker_buy_quote_volume_e8)) COMMENT 'The same in quote, NULL if a minute does not say',
    vwap Nullable(Float64) ALIAS if(volume > 0, quote_volume / volume, NULL) COMMENT 'Mean price by amount traded, in quote, NULL without trades or quote volume',
    minutes_expected UInt16 ALIAS toUInt16(step_ms / 60000) COMMENT 'Minutes the bucket has',
    is_complete Bool ALIAS minutes_present = minutes_expected COMMENT 'Whether every minute of the bucket has a bar'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, interval, timestamp)
COMMENT 'Bars of 5m to 1d made of the published 1m bars. Read with FINAL, or through v_derived_bars.';
