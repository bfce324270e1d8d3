-- The tables of a dataset that the package has never heard of: open interest, one value a day and perpetual.

CREATE TABLE IF NOT EXISTS analytics.landing_open_interest
(
    instrument_id UInt32 DEFAULT CRC32(concat(venue, '.', replaceOne(symbol, '/', '-'))) COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT '1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day',
    contracts Nullable(Float64) COMMENT 'Open contracts, in base',
    is_closed Bool COMMENT 'Whether the day was over when we asked',
    metadata String COMMENT 'JSON of whatever came that no column holds',
    source LowCardinality(String) COMMENT 'rest',
    batch_id UUID COMMENT 'Batch that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer had come'
)
ENGINE = MergeTree
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, interval, timestamp, ingested_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Open interest as it came.';

CREATE TABLE IF NOT EXISTS analytics.staging_open_interest
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT '1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day',
    version UInt64 COMMENT 'The highest is the truth'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, interval, timestamp)
COMMENT 'Which landed row is the truth of each day: the valid one of the highest version.';

CREATE TABLE IF NOT EXISTS analytics.open_interest_history
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT '1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day',
    contracts Float64 COMMENT 'Open contracts, in base',
    source LowCardinality(String) COMMENT 'rest',
    batch_id UUID COMMENT 'Batch that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer had come',
    version UInt64 COMMENT 'Version of the staging row',
    published_at DateTime64(3, 'UTC') COMMENT 'When it could first be read',
    earliest UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Milli(published_at))) COMMENT 'The first publication wins'
)
ENGINE = ReplacingMergeTree(earliest)
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, interval, timestamp, version)
COMMENT 'Every version ever published.';

CREATE TABLE IF NOT EXISTS analytics.open_interest
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT '1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day',
    contracts Float64 COMMENT 'Open contracts, in base',
    source LowCardinality(String) COMMENT 'rest',
    batch_id UUID COMMENT 'Batch that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer had come',
    version UInt64 COMMENT 'Version of the staging row',
    published_at DateTime64(3, 'UTC') COMMENT 'When it could first be read'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, interval, timestamp)
COMMENT 'The current version of every day.';

CREATE OR REPLACE VIEW analytics.judged_open_interest
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT '1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day',
    contracts Nullable(Float64) COMMENT 'Open contracts, in base',
    source LowCardinality(String) COMMENT 'rest',
    batch_id UUID COMMENT 'Batch that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer had come',
    version UInt64 COMMENT 'The highest is the truth',
    is_final Bool COMMENT 'Whether the day was over',
    rule String COMMENT 'First rule the row breaks',
    row_hash UInt64 COMMENT 'Hash of the values',
    row String COMMENT 'The values, JSON'
)
AS SELECT
    instrument_id, venue, symbol, interval, timestamp, contracts, source, batch_id, ingested_at,
    bitShiftLeft(toUInt64(2), 56) + bitShiftLeft(toUInt64(toUnixTimestamp64Milli(ingested_at)), 15)
        + bitAnd(cityHash64(contracts), 32767) AS version,
    is_closed AS is_final,
    if(contracts IS NULL OR contracts < 0, 'contracts_are_not_negative', '') AS rule,
    cityHash64(tuple(contracts, metadata)) AS row_hash,
    toJSONString(map('contracts', toString(contracts))) AS row
FROM analytics.landing_open_interest
COMMENT 'landing_open_interest with the version of each row and the first rule it breaks.';

CREATE OR REPLACE VIEW analytics.v_open_interest
(
    venue LowCardinality(String) COMMENT 'Venue',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    interval LowCardinality(String) COMMENT '1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day',
    contracts Float64 COMMENT 'Open contracts, in base',
    source LowCardinality(String) COMMENT 'rest',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer had come',
    published_at DateTime64(3, 'UTC') COMMENT 'When it could first be read'
)
AS SELECT venue, symbol, instrument_id, interval, timestamp, contracts, source, ingested_at, published_at
FROM analytics.open_interest FINAL
COMMENT 'Open interest, one row a day, current version.';
