-- Funding settlements of perpetuals on their way from what the venue said (landing) by what is valid (staging) to what
-- researchers read (funding_rates). Partitions are years: a year of one instrument is a thousand rows.

CREATE TABLE IF NOT EXISTS analytics.landing_funding_rates
(
    instrument_id UInt32 DEFAULT CRC32(concat(venue, '.', replaceOne(symbol, '/', '-'))) COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(3, 'UTC') COMMENT 'Settlement time, rounded to the minute because venues are some milliseconds late' CODEC(DoubleDelta, ZSTD(1)),
    timestamp_raw DateTime64(3, 'UTC') COMMENT 'Settlement time exactly as the venue gave it' CODEC(DoubleDelta, ZSTD(1)),
    rate_type LowCardinality(String) COMMENT 'regular, or another kind that the venue names, such as special',
    rate Nullable(Float64) COMMENT 'Settled rate of the interval, as a share of the position value, positive when longs pay, NULL if what came is not a number' CODEC(ZSTD(1)),
    predicted_rate Nullable(Float64) COMMENT 'Rate last predicted for this settlement, NULL if the venue does not say' CODEC(ZSTD(1)),
    mark_price Nullable(Float64) COMMENT 'Mark price at settlement, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    index_price Nullable(Float64) COMMENT 'Index price at settlement, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    interest_rate Nullable(Float64) COMMENT 'Interest part of the rate, NULL if the venue does not say' CODEC(ZSTD(1)),
    estimated_settle_price Nullable(Float64) COMMENT 'Estimated settle price, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    next_rate Nullable(Float64) COMMENT 'Rate the venue then expected for the next settlement, NULL if it does not say' CODEC(ZSTD(1)),
    next_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the next settlement as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    previous_rate Nullable(Float64) COMMENT 'Rate of the settlement before as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    previous_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the settlement before as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    is_settled Bool COMMENT 'Whether the settlement was over when we asked, by the clock of the venue',
    unreadable LowCardinality(String) COMMENT 'Columns of which the venue sent a text that is not what it should be, by comma, empty when there are none',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    CONSTRAINT timestamp_is_plausible CHECK timestamp >= toDateTime64('2009-01-03 00:00:00', 3, 'UTC') AND timestamp < toDateTime64('2100-01-01 00:00:00', 3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, rate_type, timestamp, ingested_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every funding settlement as a venue sent it, typed. Only grows: no row is changed or dropped for being wrong or repeated.';


CREATE TABLE IF NOT EXISTS analytics.staging_funding_rates
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(3, 'UTC') COMMENT 'Settlement time, rounded to the minute because venues are some milliseconds late' CODEC(DoubleDelta, ZSTD(1)),
    timestamp_raw DateTime64(3, 'UTC') COMMENT 'Settlement time exactly as the venue gave it' CODEC(DoubleDelta, ZSTD(1)),
    rate_type LowCardinality(String) COMMENT 'regular, or another kind that the venue names, such as special',
    rate Float64 COMMENT 'Settled rate of the interval, as a share of the position value, positive when longs pay' CODEC(ZSTD(1)),
    predicted_rate Nullable(Float64) COMMENT 'Rate last predicted for this settlement, NULL if the venue does not say' CODEC(ZSTD(1)),
    mark_price Nullable(Float64) COMMENT 'Mark price at settlement, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    index_price Nullable(Float64) COMMENT 'Index price at settlement, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    interest_rate Nullable(Float64) COMMENT 'Interest part of the rate, NULL if the venue does not say' CODEC(ZSTD(1)),
    estimated_settle_price Nullable(Float64) COMMENT 'Estimated settle price, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    next_rate Nullable(Float64) COMMENT 'Rate the venue then expected for the next settlement, NULL if it does not say' CODEC(ZSTD(1)),
    next_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the next settlement as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    previous_rate Nullable(Float64) COMMENT 'Rate of the settlement before as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    previous_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the settlement before as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Finality rank of the source (top byte: archive 3, rest 2, ws 1), ingested_at in milliseconds (41 bits), hash of the values (15 bits): the highest is the truth' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, rate_type, timestamp)
COMMENT 'The current truth: of each key the valid, settled row of the highest version. Read with FINAL.';


CREATE TABLE IF NOT EXISTS analytics.funding_rates_history
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(3, 'UTC') COMMENT 'Settlement time, rounded to the minute because venues are some milliseconds late' CODEC(DoubleDelta, ZSTD(1)),
    timestamp_raw DateTime64(3, 'UTC') COMMENT 'Settlement time exactly as the venue gave it' CODEC(DoubleDelta, ZSTD(1)),
    rate_type LowCardinality(String) COMMENT 'regular, or another kind that the venue names, such as special',
    rate Float64 COMMENT 'Settled rate of the interval, as a share of the position value, positive when longs pay' CODEC(ZSTD(1)),
    predicted_rate Nullable(Float64) COMMENT 'Rate last predicted for this settlement, NULL if the venue does not say' CODEC(ZSTD(1)),
    mark_price Nullable(Float64) COMMENT 'Mark price at settlement, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    index_price Nullable(Float64) COMMENT 'Index price at settlement, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    interest_rate Nullable(Float64) COMMENT 'Interest part of the rate, NULL if the venue does not say' CODEC(ZSTD(1)),
    estimated_settle_price Nullable(Float64) COMMENT 'Estimated settle price, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    next_rate Nullable(Float64) COMMENT 'Rate the venue then expected for the next settlement, NULL if it does not say' CODEC(ZSTD(1)),
    next_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the next settlement as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    previous_rate Nullable(Float64) COMMENT 'Rate of the settlement before as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    previous_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the settlement before as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Version of the staging row' CODEC(ZSTD(1)),
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version' CODEC(ZSTD(1)),
    earliest UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Milli(published_at))) COMMENT 'Makes the first publication win if two runs published one version at once' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(earliest)
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, rate_type, timestamp, version)
COMMENT 'Every version of every settlement ever published, a row is added only where the values differ from the last version.';


CREATE TABLE IF NOT EXISTS analytics.funding_rates
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(3, 'UTC') COMMENT 'Settlement time, rounded to the minute because venues are some milliseconds late' CODEC(DoubleDelta, ZSTD(1)),
    timestamp_raw DateTime64(3, 'UTC') COMMENT 'Settlement time exactly as the venue gave it' CODEC(DoubleDelta, ZSTD(1)),
    rate_type LowCardinality(String) COMMENT 'regular, or another kind that the venue names, such as special',
    rate Float64 COMMENT 'Settled rate of the interval, as a share of the position value, positive when longs pay' CODEC(ZSTD(1)),
    predicted_rate Nullable(Float64) COMMENT 'Rate last predicted for this settlement, NULL if the venue does not say' CODEC(ZSTD(1)),
    mark_price Nullable(Float64) COMMENT 'Mark price at settlement, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    index_price Nullable(Float64) COMMENT 'Index price at settlement, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    interest_rate Nullable(Float64) COMMENT 'Interest part of the rate, NULL if the venue does not say' CODEC(ZSTD(1)),
    estimated_settle_price Nullable(Float64) COMMENT 'Estimated settle price, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    next_rate Nullable(Float64) COMMENT 'Rate the venue then expected for the next settlement, NULL if it does not say' CODEC(ZSTD(1)),
    next_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the next settlement as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    previous_rate Nullable(Float64) COMMENT 'Rate of the settlement before as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    previous_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the settlement before as the venue then gave it, NULL if it does not say' CODEC(ZSTD(1)),
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Version of the staging row' CODEC(ZSTD(1)),
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version' CODEC(ZSTD(1)),
    timestamp_unix Int64 ALIAS toUnixTimestamp64Milli(timestamp) COMMENT 'Settlement time, milliseconds since 1970'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(timestamp)
ORDER BY (instrument_id, rate_type, timestamp)
COMMENT 'The current version of every funding settlement. Read with FINAL, or through v_funding.';

-- The bounds that rates are held against; the same lines stand in V004, which fills them.
ALTER TABLE analytics.instruments ADD COLUMN IF NOT EXISTS funding_rate_cap Nullable(Float64) COMMENT 'Highest funding rate of one settlement, as a fraction, NULL if the venue does not list it';
ALTER TABLE analytics.instruments ADD COLUMN IF NOT EXISTS funding_rate_floor Nullable(Float64) COMMENT 'Lowest funding rate of one settlement, as a fraction, NULL if the venue does not list it';
