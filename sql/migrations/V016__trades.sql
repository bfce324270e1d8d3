-- Trades on their way from what the venue said (landing) by what is valid (staging) to what researchers read (trades). A trade
-- never changes, so there is no history: what was published once stays, and a second value of an id is found by a check.
-- Times are to the microsecond, which some venues tell. Partitions are months: a day of a busy market is millions of rows.

CREATE TABLE IF NOT EXISTS analytics.landing_trades
(
    instrument_id UInt32 DEFAULT CRC32(concat(venue, '.', replaceOne(symbol, '/', '-'))) COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(6, 'UTC') COMMENT 'When it was traded, as the venue gave it' CODEC(Delta, ZSTD(1)),
    trade_kind LowCardinality(String) COMMENT 'single, or aggregate: what one order took at one price in one moment, they count their ids apart',
    trade_id UInt64 COMMENT 'Number that the venue gave it, where it gives a name only, made of trade_uuid' CODEC(DoubleDelta, ZSTD(1)),
    trade_uuid String COMMENT 'Name that the venue gave it, empty where it counts' CODEC(ZSTD(1)),
    first_id UInt64 COMMENT 'First single trade of an aggregate, of a single one its own id' CODEC(DoubleDelta, ZSTD(1)),
    last_id UInt64 COMMENT 'Last single trade of an aggregate, of a single one its own id' CODEC(DoubleDelta, ZSTD(1)),
    side LowCardinality(String) COMMENT 'What the taker did: buy or sell, empty if what came says neither',
    price Nullable(Float64) COMMENT 'Price, in quote, NULL if what came is not a number' CODEC(ZSTD(1)),
    quantity Nullable(Float64) COMMENT 'Amount, in base, NULL if what came is not a number' CODEC(ZSTD(1)),
    quote_quantity Nullable(Float64) COMMENT 'Amount in quote, NULL if the venue does not say' CODEC(ZSTD(1)),
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    CONSTRAINT timestamp_is_plausible CHECK timestamp >= toDateTime64('2009-01-03 00:00:00', 3, 'UTC') AND timestamp < toDateTime64('2100-01-01 00:00:00', 3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, trade_kind, timestamp, trade_id, ingested_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every trade as a venue sent it, typed. Only grows: no row is changed or dropped for being wrong or repeated.';

CREATE TABLE IF NOT EXISTS analytics.staging_trades
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(6, 'UTC') COMMENT 'When it was traded' CODEC(Delta, ZSTD(1)),
    trade_kind LowCardinality(String) COMMENT 'single or aggregate',
    trade_id UInt64 COMMENT 'Number that the venue gave it' CODEC(DoubleDelta, ZSTD(1)),
    version UInt64 COMMENT 'Finality rank of the source (top byte: archive 3, rest 2, ws 1), ingested_at in milliseconds (41 bits), hash of the values (15 bits): the highest is the truth' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, trade_kind, timestamp, trade_id)
COMMENT 'Which landed row of each trade counts: the valid one of the highest version. Its values are read where they landed. Read with FINAL.';

CREATE TABLE IF NOT EXISTS analytics.trades
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(6, 'UTC') COMMENT 'When it was traded, as the venue gave it' CODEC(Delta, ZSTD(3)),
    trade_kind LowCardinality(String) COMMENT 'single, or aggregate: what one order took at one price in one moment, they count their ids apart',
    trade_id UInt64 COMMENT 'Number that the venue gave it, where it gives a name only, made of trade_uuid' CODEC(DoubleDelta, ZSTD(1)),
    trade_uuid String COMMENT 'Name that the venue gave it, empty where it counts' CODEC(ZSTD(1)),
    first_id UInt64 COMMENT 'First single trade of an aggregate, of a single one its own id' CODEC(DoubleDelta, ZSTD(1)),
    trade_count UInt32 COMMENT 'Single trades in an aggregate, of a single one 1' CODEC(ZSTD(1)),
    side LowCardinality(String) COMMENT 'What the taker did: buy or sell' CODEC(ZSTD(3)),
    price Float64 COMMENT 'Price, in quote' CODEC(Delta, ZSTD(3)),
    quantity Float64 COMMENT 'Amount, in base' CODEC(ZSTD(3)),
    quote_quantity Nullable(Float64) COMMENT 'Amount in quote where the venue says it and it is not price times quantity, else NULL' CODEC(ZSTD(1)),
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row' CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come' CODEC(ZSTD(1)),
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read it' CODEC(ZSTD(1)),
    earliest UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Milli(published_at))) COMMENT 'Makes the first publication win if two runs published one trade at once' CODEC(ZSTD(1)),
    timestamp_unix Int64 ALIAS toUnixTimestamp64Micro(timestamp) COMMENT 'When it was traded, microseconds since 1970',
    last_id UInt64 ALIAS first_id + trade_count - 1 COMMENT 'Last single trade of an aggregate, of a single one its own id'
)
ENGINE = ReplacingMergeTree(earliest)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (instrument_id, trade_kind, timestamp, trade_id)
COMMENT 'Every valid trade, once. A trade never changes. Read with FINAL, or through v_trades.';

-- What a window brought of rows that a venue counts: with them the ledger proves that nothing lies between two windows.
ALTER TABLE analytics.ingest_batches ADD COLUMN IF NOT EXISTS first_id Nullable(UInt64) COMMENT 'Lowest id of the rows that came, NULL where rows have none or none came';
ALTER TABLE analytics.ingest_batches ADD COLUMN IF NOT EXISTS last_id Nullable(UInt64) COMMENT 'Highest id of the rows that came, NULL where rows have none or none came';

CREATE TABLE IF NOT EXISTS analytics.published_series
(
    dataset LowCardinality(String) COMMENT 'Dataset whose rows are events, such as trades',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    series LowCardinality(String) COMMENT 'What researchers read of the instrument, such as single or aggregate: what was published first',
    since DateTime64(3, 'UTC') COMMENT 'When it was first published'
)
ENGINE = MergeTree
ORDER BY (dataset, instrument_id, since)
COMMENT 'Which series of events is published of an instrument. Two of one instrument tell of the same trades, and only one is read. The first row counts.';
