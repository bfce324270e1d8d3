-- Bars of prices that are no trades: mark, index and premium of perpetuals. Keys are those of bars, the series being the price type
-- and the length (mark_1m). No volume: nothing is traded at them. Numbers stay Float64, see decision 0039.

CREATE TABLE IF NOT EXISTS analytics.landing_price_bars
(
    instrument_id UInt32 DEFAULT CRC32(concat(venue, '.', replaceOne(symbol, '/', '-'))) COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Series: price type and bar length, such as mark_1m',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time as the venue gave it' CODEC(DoubleDelta, ZSTD(1)),
    close_time Nullable(DateTime64(3, 'UTC')) COMMENT 'Close time as the venue gave it, NULL if it gives none' CODEC(ZSTD(1)),
    open Nullable(Float64) COMMENT 'First price, in quote, of a premium a share of the index, NULL if what came is not a number' CODEC(ZSTD(3)),
    high Nullable(Float64) COMMENT 'Highest price, in quote, of a premium a share of the index, NULL if what came is not a number' CODEC(ZSTD(3)),
    low Nullable(Float64) COMMENT 'Lowest price, in quote, of a premium a share of the index, NULL if what came is not a number' CODEC(ZSTD(3)),
    close Nullable(Float64) COMMENT 'Last price, in quote, of a premium a share of the index, NULL if what came is not a number' CODEC(ZSTD(3)),
    sample_count Nullable(UInt32) COMMENT 'Prices that the venue made the bar of, about one a second, NULL if it does not say' CODEC(T64('bit'), ZSTD(1)),
    is_closed Bool COMMENT 'Whether the bar was over when we asked, by the flag and the clock of the venue',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    CONSTRAINT timestamp_is_plausible CHECK timestamp >= toDateTime64('2009-01-03 00:00:00', 3, 'UTC') AND timestamp < toDateTime64('2100-01-01 00:00:00', 3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, interval, timestamp, ingested_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every bar of a mark, index or premium price as a venue sent it, typed. Only grows: no row is changed or dropped for being wrong or repeated.';

CREATE TABLE IF NOT EXISTS analytics.staging_price_bars
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Series: price type and bar length, such as mark_1m',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time as the venue gave it' CODEC(DoubleDelta, ZSTD(1)),
    version UInt64 COMMENT 'Finality rank of the source (top byte), ingested_at in milliseconds (41 bits), hash of the values (15 bits): the highest is the truth' CODEC(T64('bit'), ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, interval, timestamp)
COMMENT 'Which landed row is the current truth of each key: the valid closed row of the highest version. Its values are in landing, see judged_price_bars. Read with FINAL.';

CREATE TABLE IF NOT EXISTS analytics.price_bars_history
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Series: price type and bar length, such as mark_1m',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time as the venue gave it' CODEC(DoubleDelta, ZSTD(1)),
    open Float64 COMMENT 'First price, in quote, of a premium a share of the index' CODEC(ZSTD(3)),
    high Float64 COMMENT 'Highest price, in quote, of a premium a share of the index' CODEC(ZSTD(3)),
    low Float64 COMMENT 'Lowest price, in quote, of a premium a share of the index' CODEC(ZSTD(3)),
    close Float64 COMMENT 'Last price, in quote, of a premium a share of the index' CODEC(ZSTD(3)),
    sample_count Nullable(UInt32) COMMENT 'Prices that the venue made the bar of, about one a second, NULL if it does not say' CODEC(T64('bit'), ZSTD(1)),
    source LowCardinality(String) COMMENT 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Version of the staging row' CODEC(T64('bit'), ZSTD(1)),
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version' CODEC(ZSTD(1)),
    earliest UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Milli(published_at))) COMMENT 'Makes the first publication win if two runs published one version at once' CODEC(ZSTD(1)),
    timestamp_unix Int64 ALIAS toUnixTimestamp64Milli(timestamp) COMMENT 'Open time, milliseconds since 1970',
    step_ms Int64 ALIAS transform(substring(interval, position(interval, '_') + 1), ['1m', '5m', '15m', '1h', '4h', '1d'], [60000, 300000, 900000, 3600000, 14400000, 86400000], 0) COMMENT 'Bar length in milliseconds'
)
ENGINE = ReplacingMergeTree(earliest)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, interval, timestamp, version)
COMMENT 'Every version of every bar of a price ever published, a row is added only where the values differ from the last version.';

CREATE TABLE IF NOT EXISTS analytics.price_bars
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Series: price type and bar length, such as mark_1m',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time as the venue gave it' CODEC(DoubleDelta, ZSTD(1)),
    open Float64 COMMENT 'First price, in quote, of a premium a share of the index' CODEC(ZSTD(3)),
    high Float64 COMMENT 'Highest price, in quote, of a premium a share of the index' CODEC(ZSTD(3)),
    low Float64 COMMENT 'Lowest price, in quote, of a premium a share of the index' CODEC(ZSTD(3)),
    close Float64 COMMENT 'Last price, in quote, of a premium a share of the index' CODEC(ZSTD(3)),
    sample_count Nullable(UInt32) COMMENT 'Prices that the venue made the bar of, about one a second, NULL if it does not say' CODEC(T64('bit'), ZSTD(1)),
    source LowCardinality(String) COMMENT 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Version of the staging row' CODEC(T64('bit'), ZSTD(1)),
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version' CODEC(ZSTD(1)),
    timestamp_unix Int64 ALIAS toUnixTimestamp64Milli(timestamp) COMMENT 'Open time, milliseconds since 1970',
    step_ms Int64 ALIAS transform(substring(interval, position(interval, '_') + 1), ['1m', '5m', '15m', '1h', '4h', '1d'], [60000, 300000, 900000, 3600000, 14400000, 86400000], 0) COMMENT 'Bar length in milliseconds'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, interval, timestamp)
COMMENT 'The current version of every bar of a mark, index or premium price. Read with FINAL, or through v_price_bars.';

-- A series is named by its price too: its bar length is what follows it.
ALTER TABLE analytics.ingest_batches MODIFY COLUMN step_ms Int64 ALIAS transform(substring(interval, position(interval, '_') + 1), ['1m', '5m', '15m', '1h', '4h', '1d'], [60000, 300000, 900000, 3600000, 14400000, 86400000], 0);
ALTER TABLE analytics.gaps MODIFY COLUMN step_ms Int64 ALIAS transform(substring(interval, position(interval, '_') + 1), ['1m', '5m', '15m', '1h', '4h', '1d'], [60000, 300000, 900000, 3600000, 14400000, 86400000], 0);
ALTER TABLE analytics.rejected_rows MODIFY COLUMN step_ms Int64 ALIAS transform(substring(interval, position(interval, '_') + 1), ['1m', '5m', '15m', '1h', '4h', '1d'], [60000, 300000, 900000, 3600000, 14400000, 86400000], 0);
