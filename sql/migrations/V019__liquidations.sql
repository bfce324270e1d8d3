-- Liquidations, on their way as trades go: events that never change, known by a hash because nobody numbers them. What a venue
-- tells is a sample, so coverage says of a day whether it was answered, and that nobody knows how many there were.

CREATE TABLE IF NOT EXISTS analytics.landing_liquidations
(
    instrument_id UInt32 DEFAULT CRC32(concat(venue, '.', replaceOne(symbol, '/', '-'))) COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(3, 'UTC') COMMENT 'When the venue closed the position, as it gave it' CODEC(Delta, ZSTD(1)),
    price_kind LowCardinality(String) COMMENT 'What price is: order, the limit of the order by which the venue closed it',
    liquidation_id UInt64 COMMENT 'Hash of all that came of it: the venue does not number them' CODEC(ZSTD(1)),
    order_side LowCardinality(String) COMMENT 'Side of the order that closed the position: buy or sell, empty if what came says neither',
    position_side LowCardinality(String) COMMENT 'The position that was closed: long or short, empty if what came says neither',
    price Nullable(Float64) COMMENT 'Price of the kind that price_kind names, in quote, NULL if what came is not a number' CODEC(ZSTD(1)),
    average_price Nullable(Float64) COMMENT 'Average price at which the order was filled, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    quantity Nullable(Float64) COMMENT 'Amount of the order, in base, NULL if what came is not a number' CODEC(ZSTD(1)),
    filled_quantity Nullable(Float64) COMMENT 'Part of it that was filled, in base, NULL if the venue does not say' CODEC(ZSTD(1)),
    is_sampled Bool COMMENT 'Whether the venue told a part of its liquidations only: the latest of a second',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'archive_daily, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    CONSTRAINT timestamp_is_plausible CHECK timestamp >= toDateTime64('2009-01-03 00:00:00', 3, 'UTC') AND timestamp < toDateTime64('2100-01-01 00:00:00', 3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, price_kind, timestamp, liquidation_id, ingested_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every liquidation as a venue sent it, typed. Only grows: no row is changed or dropped for being wrong or repeated.';

CREATE TABLE IF NOT EXISTS analytics.staging_liquidations
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(3, 'UTC') COMMENT 'When the venue closed the position, as it gave it' CODEC(Delta, ZSTD(1)),
    price_kind LowCardinality(String) COMMENT 'What price is: order, the limit of the order by which the venue closed it',
    liquidation_id UInt64 COMMENT 'Hash of all that came of it: the venue does not number them' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Finality rank of the source (top byte), ingested_at in milliseconds (41 bits), hash of the values (15 bits): the highest is the truth' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, price_kind, timestamp, liquidation_id)
COMMENT 'Which landed row of each liquidation counts: the valid one of the highest version. Its values are read where they landed. Read with FINAL.';

CREATE TABLE IF NOT EXISTS analytics.liquidations
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(3, 'UTC') COMMENT 'When the venue closed the position, as it gave it' CODEC(Delta, ZSTD(1)),
    price_kind LowCardinality(String) COMMENT 'What price is: order, the limit of the order by which the venue closed it',
    liquidation_id UInt64 COMMENT 'Hash of all that came of it: the venue does not number them' CODEC(ZSTD(1)),
    order_side LowCardinality(String) COMMENT 'Side of the order that closed the position: buy or sell',
    position_side LowCardinality(String) COMMENT 'The position that was closed: long or short',
    price Float64 COMMENT 'Price of the kind that price_kind names, in quote' CODEC(ZSTD(1)),
    average_price Nullable(Float64) COMMENT 'Average price at which the order was filled, in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    quantity Float64 COMMENT 'Amount of the order, in base' CODEC(ZSTD(1)),
    filled_quantity Nullable(Float64) COMMENT 'Part of it that was filled, in base, NULL if the venue does not say' CODEC(ZSTD(1)),
    is_sampled Bool COMMENT 'Whether the venue told a part of its liquidations only: the latest of a second',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'archive_daily, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read it' CODEC(ZSTD(1)),
    earliest UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Milli(published_at))) COMMENT 'Makes the first publication win if two runs published one at once' CODEC(ZSTD(1)),
    timestamp_unix Int64 ALIAS toUnixTimestamp64Milli(timestamp) COMMENT 'When the venue closed the position, milliseconds since 1970'
)
ENGINE = ReplacingMergeTree(earliest)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, price_kind, timestamp, liquidation_id)
COMMENT 'Every valid liquidation that a venue told, once. Read with FINAL, or through v_liquidations.';

-- Of what is sampled a day is complete when it was answered, and that is all that can be said.
ALTER TABLE analytics.coverage ADD COLUMN IF NOT EXISTS is_sampled Bool DEFAULT false COMMENT 'Whether the venue tells a part only: a slot is then a day that was answered, and how many rows are missing nobody knows';
