-- OHLCV bars on their way from what the venue said (landing) by what is valid (staging) to what researchers read (bars).
-- Partitions are months: an instrument-year in daily partitions is refused (code 252), and 25,000 files slow everything.
-- Prices and volumes are Float64: Decimal(18, 8) overflows on real quote volumes.

CREATE TABLE IF NOT EXISTS analytics.landing_bars
(
    instrument_id UInt32 DEFAULT CRC32(concat(venue, '.', replaceOne(symbol, '/', '-'))) COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length: 1m, 5m, 15m, 1h, 4h or 1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time exactly as the venue gave it, off-grid ones too' CODEC(DoubleDelta, ZSTD(1)),
    close_time Nullable(DateTime64(3, 'UTC')) COMMENT 'Close time as the venue gave it, NULL if it gives none' CODEC(DoubleDelta, ZSTD(1)),
    open Nullable(Float64) COMMENT 'First price, in quote, NULL if what came is not a number' CODEC(Delta, ZSTD(1)),
    high Nullable(Float64) COMMENT 'Highest price, in quote, NULL if what came is not a number' CODEC(Delta, ZSTD(1)),
    low Nullable(Float64) COMMENT 'Lowest price, in quote, NULL if what came is not a number' CODEC(Delta, ZSTD(1)),
    close Nullable(Float64) COMMENT 'Last price, in quote, NULL if what came is not a number' CODEC(Delta, ZSTD(1)),
    volume Nullable(Float64) COMMENT 'Amount traded, in base, NULL if what came is not a number' CODEC(ZSTD(1)),
    quote_volume Nullable(Float64) COMMENT 'Amount traded, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    contract_volume Nullable(Float64) COMMENT 'Amount traded, in contracts, NULL where the venue counts in base' CODEC(ZSTD(1)),
    trade_count Nullable(UInt64) COMMENT 'Trades in the bar, NULL if the venue does not say' CODEC(ZSTD(1)),
    taker_buy_base_volume Nullable(Float64) COMMENT 'Part of volume whose buyer was the taker, NULL if the venue does not say' CODEC(ZSTD(1)),
    taker_buy_quote_volume Nullable(Float64) COMMENT 'The same in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    is_closed Bool COMMENT 'Whether the bar was final when we asked, by the flag or the clock of the venue',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    CONSTRAINT timestamp_is_plausible CHECK timestamp >= toDateTime64('2009-01-03 00:00:00', 3, 'UTC') AND timestamp < toDateTime64('2100-01-01 00:00:00', 3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, interval, timestamp, ingested_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every bar as a venue sent it, typed. Only grows: no row is changed or dropped for being wrong, open or repeated.';

CREATE TABLE IF NOT EXISTS analytics.staging_bars
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length: 1m, 5m, 15m, 1h, 4h or 1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time exactly as the venue gave it, off-grid ones too' CODEC(DoubleDelta, ZSTD(1)),
    close_time Nullable(DateTime64(3, 'UTC')) COMMENT 'Close time as the venue gave it, NULL if it gives none' CODEC(DoubleDelta, ZSTD(1)),
    open Float64 COMMENT 'First price, in quote' CODEC(Delta, ZSTD(1)),
    high Float64 COMMENT 'Highest price, in quote' CODEC(Delta, ZSTD(1)),
    low Float64 COMMENT 'Lowest price, in quote' CODEC(Delta, ZSTD(1)),
    close Float64 COMMENT 'Last price, in quote' CODEC(Delta, ZSTD(1)),
    volume Float64 COMMENT 'Amount traded, in base' CODEC(ZSTD(1)),
    quote_volume Nullable(Float64) COMMENT 'Amount traded, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    contract_volume Nullable(Float64) COMMENT 'Amount traded, in contracts, NULL where the venue counts in base' CODEC(ZSTD(1)),
    trade_count Nullable(UInt64) COMMENT 'Trades in the bar, NULL if the venue does not say' CODEC(ZSTD(1)),
    taker_buy_base_volume Nullable(Float64) COMMENT 'Part of volume whose buyer was the taker, NULL if the venue does not say' CODEC(ZSTD(1)),
    taker_buy_quote_volume Nullable(Float64) COMMENT 'The same in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Finality rank of the source (top byte: archive 3, rest 2, ws 1), ingested_at in milliseconds (41 bits), hash of the values (15 bits): the highest is the truth' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, interval, timestamp)
COMMENT 'The current truth: of each key the valid, closed row of the highest version. Read with FINAL.';

CREATE TABLE IF NOT EXISTS analytics.bars_history
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length: 1m, 5m, 15m, 1h, 4h or 1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time exactly as the venue gave it, off-grid ones too' CODEC(DoubleDelta, ZSTD(1)),
    close_time Nullable(DateTime64(3, 'UTC')) COMMENT 'Close time as the venue gave it, NULL if it gives none' CODEC(DoubleDelta, ZSTD(1)),
    open Float64 COMMENT 'First price, in quote' CODEC(Delta, ZSTD(1)),
    high Float64 COMMENT 'Highest price, in quote' CODEC(Delta, ZSTD(1)),
    low Float64 COMMENT 'Lowest price, in quote' CODEC(Delta, ZSTD(1)),
    close Float64 COMMENT 'Last price, in quote' CODEC(Delta, ZSTD(1)),
    volume Float64 COMMENT 'Amount traded, in base' CODEC(ZSTD(1)),
    quote_volume Nullable(Float64) COMMENT 'Amount traded, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    contract_volume Nullable(Float64) COMMENT 'Amount traded, in contracts, NULL where the venue counts in base' CODEC(ZSTD(1)),
    trade_count Nullable(UInt64) COMMENT 'Trades in the bar, NULL if the venue does not say' CODEC(ZSTD(1)),
    taker_buy_base_volume Nullable(Float64) COMMENT 'Part of volume whose buyer was the taker, NULL if the venue does not say' CODEC(ZSTD(1)),
    taker_buy_quote_volume Nullable(Float64) COMMENT 'The same in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Version of the staging row' CODEC(ZSTD(1)),
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version' CODEC(ZSTD(1)),
    earliest UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Milli(published_at))) COMMENT 'Makes the first publication win if two runs published one version at once' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(earliest)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, interval, timestamp, version)
COMMENT 'Every version of every bar ever published, a row is added only where the values differ from the last version.';

CREATE TABLE IF NOT EXISTS analytics.bars
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length: 1m, 5m, 15m, 1h, 4h or 1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time exactly as the venue gave it, off-grid ones too' CODEC(DoubleDelta, ZSTD(1)),
    close_time Nullable(DateTime64(3, 'UTC')) COMMENT 'Close time as the venue gave it, NULL if it gives none' CODEC(DoubleDelta, ZSTD(1)),
    open Float64 COMMENT 'First price, in quote' CODEC(Delta, ZSTD(1)),
    high Float64 COMMENT 'Highest price, in quote' CODEC(Delta, ZSTD(1)),
    low Float64 COMMENT 'Lowest price, in quote' CODEC(Delta, ZSTD(1)),
    close Float64 COMMENT 'Last price, in quote' CODEC(Delta, ZSTD(1)),
    volume Float64 COMMENT 'Amount traded, in base' CODEC(ZSTD(1)),
    quote_volume Nullable(Float64) COMMENT 'Amount traded, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    contract_volume Nullable(Float64) COMMENT 'Amount traded, in contracts, NULL where the venue counts in base' CODEC(ZSTD(1)),
    trade_count Nullable(UInt64) COMMENT 'Trades in the bar, NULL if the venue does not say' CODEC(ZSTD(1)),
    taker_buy_base_volume Nullable(Float64) COMMENT 'Part of volume whose buyer was the taker, NULL if the venue does not say' CODEC(ZSTD(1)),
    taker_buy_quote_volume Nullable(Float64) COMMENT 'The same in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Version of the staging row' CODEC(ZSTD(1)),
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version' CODEC(ZSTD(1)),
    timestamp_unix Int64 ALIAS toUnixTimestamp64Milli(timestamp) COMMENT 'Open time, milliseconds since 1970'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, interval, timestamp)
COMMENT 'The current version of every bar. Read with FINAL, or through v_bars.';
