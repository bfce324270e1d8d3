-- Fear & Greed: one value a day for the whole market, on its way from landing by staging to fear_greed_index.
-- Instruments: what venues say of funding, and who could be reached when.
-- Tables of a few thousand rows are not partitioned further than by year.

CREATE TABLE IF NOT EXISTS analytics.landing_fear_greed_index
(
    instrument_id UInt32 DEFAULT CRC32(concat(venue, '.', replaceOne(symbol, '/', '-'))) COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'alternative_me',
    symbol LowCardinality(String) COMMENT 'FEAR/GREED',
    interval LowCardinality(String) COMMENT '1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day, exactly as the source gave it' CODEC(DoubleDelta, ZSTD(1)),
    value Nullable(Int64) COMMENT '0 (extreme fear) to 100 (extreme greed), NULL if what came is not an integer',
    classification String COMMENT 'The word of the source for the value, empty if none came',
    is_closed Bool COMMENT 'Whether the day was over: the newest value still changes',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'rest',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the source had come' CODEC(ZSTD(1)),
    CONSTRAINT timestamp_is_plausible CHECK timestamp >= toDateTime64('2009-01-03 00:00:00', 3, 'UTC') AND timestamp < toDateTime64('2100-01-01 00:00:00', 3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, interval, timestamp, ingested_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every value of the Fear and Greed Index as alternative.me sent it, typed. Only grows.';

CREATE TABLE IF NOT EXISTS analytics.staging_fear_greed_index
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'alternative_me',
    symbol LowCardinality(String) COMMENT 'FEAR/GREED',
    interval LowCardinality(String) COMMENT '1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day, exactly as the source gave it' CODEC(DoubleDelta, ZSTD(1)),
    value UInt8 COMMENT '0 (extreme fear) to 100 (extreme greed)',
    classification LowCardinality(String) COMMENT 'The word of the source for the value, such as Extreme Fear',
    source LowCardinality(String) COMMENT 'rest',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the source had come' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Finality rank of the source (top byte: archive 3, rest 2, ws 1), ingested_at in milliseconds (41 bits), hash of the values (15 bits): the highest is the truth' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, interval, timestamp)
COMMENT 'The current truth: of each day the valid, closed row of the highest version. Read with FINAL.';

CREATE TABLE IF NOT EXISTS analytics.fear_greed_index_history
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'alternative_me',
    symbol LowCardinality(String) COMMENT 'FEAR/GREED',
    interval LowCardinality(String) COMMENT '1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day, exactly as the source gave it' CODEC(DoubleDelta, ZSTD(1)),
    value UInt8 COMMENT '0 (extreme fear) to 100 (extreme greed)',
    classification LowCardinality(String) COMMENT 'The word of the source for the value, such as Extreme Fear',
    source LowCardinality(String) COMMENT 'rest',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the source had come' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Version of the staging row' CODEC(ZSTD(1)),
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version' CODEC(ZSTD(1)),
    earliest UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Milli(published_at))) COMMENT 'Makes the first publication win if two runs published one version at once' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(earliest)
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, interval, timestamp, version)
COMMENT 'Every version of every day ever published, a row is added only where the value differs from the last version.';

CREATE TABLE IF NOT EXISTS analytics.fear_greed_index
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'alternative_me',
    symbol LowCardinality(String) COMMENT 'FEAR/GREED',
    interval LowCardinality(String) COMMENT '1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day, exactly as the source gave it' CODEC(DoubleDelta, ZSTD(1)),
    value UInt8 COMMENT '0 (extreme fear) to 100 (extreme greed)',
    classification LowCardinality(String) COMMENT 'The word of the source for the value, such as Extreme Fear',
    source LowCardinality(String) COMMENT 'rest',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the source had come' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Version of the staging row' CODEC(ZSTD(1)),
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version' CODEC(ZSTD(1)),
    timestamp_unix Int64 ALIAS toUnixTimestamp64Milli(timestamp) COMMENT 'Start of the day, milliseconds since 1970'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, interval, timestamp)
COMMENT 'The current version of the Fear and Greed Index of every day. Read with FINAL, or through v_fear_greed.';

ALTER TABLE analytics.instruments ADD COLUMN IF NOT EXISTS funding_rate_cap Nullable(Float64) COMMENT 'Highest funding rate of one settlement, as a fraction, NULL if the venue does not list it';
ALTER TABLE analytics.instruments ADD COLUMN IF NOT EXISTS funding_rate_floor Nullable(Float64) COMMENT 'Lowest funding rate of one settlement, as a fraction, NULL if the venue does not list it';
ALTER TABLE analytics.instruments ADD COLUMN IF NOT EXISTS funding_interval_hours Nullable(Float64) COMMENT 'Hours between settlements of funding as listed now, NULL if the venue does not list it';

CREATE TABLE IF NOT EXISTS analytics.venues_history
(
    venue LowCardinality(String) COMMENT 'A market place of one kind, such as binance_spot',
    observed_at DateTime64(3, 'UTC') COMMENT 'When we asked',
    origin LowCardinality(String) COMMENT 'live, or sandbox when the exchange emulator answered',
    is_reachable Bool COMMENT 'Whether its clock and its instrument list came and were believed',
    error String COMMENT 'Why not, empty when it was reachable',
    instruments_listed Nullable(UInt32) COMMENT 'Instruments the venue listed, in any status, NULL when not reachable',
    instruments_active Nullable(UInt32) COMMENT 'Those of them that traded, NULL when not reachable',
    clock_skew_ms Nullable(Int64) COMMENT 'Venue clock minus ours, milliseconds, round trip not subtracted, NULL when not reachable'
)
ENGINE = MergeTree
ORDER BY (venue, observed_at)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What each venue was like at every refresh, and whether it could be reached at all.';
