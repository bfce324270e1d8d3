-- What we know about venues and instruments, and the ledger of every question put to a venue and its answer.
-- Every statement can run again: a migration that was killed half-way starts over from its first statement.

CREATE TABLE IF NOT EXISTS analytics.venues
(
    venue LowCardinality(String) COMMENT 'A market place of one kind, such as binance_spot',
    exchange LowCardinality(String) COMMENT 'The ccxt exchange class that speaks for it, such as binance',
    market_type LowCardinality(String) COMMENT 'spot or perp',
    origin LowCardinality(String) COMMENT 'live, or sandbox when the exchange emulator answered',
    instruments_listed UInt32 COMMENT 'Instruments the venue listed when observed, in any status',
    instruments_active UInt32 COMMENT 'Those of them that traded',
    clock_skew_ms Int64 COMMENT 'Venue clock minus ours at the moment observed, milliseconds, round trip not subtracted',
    observed_at DateTime64(3, 'UTC') COMMENT 'When we asked'
)
ENGINE = ReplacingMergeTree(observed_at)
ORDER BY venue
COMMENT 'One row a venue as last observed. Read with FINAL.';

CREATE TABLE IF NOT EXISTS analytics.instruments
(
    instrument_id UInt32 DEFAULT CRC32(concat(venue, '.', replaceOne(symbol, '/', '-'))) COMMENT 'Derived from venue and symbol: CRC32 of the key, as binance_spot.BTC-USDT',
    venue LowCardinality(String) COMMENT 'Venue that lists it',
    symbol String COMMENT 'BASE/QUOTE in ccxt spelling, for perpetuals the settlement suffix is left out',
    venue_symbol String COMMENT 'The name the venue itself uses, such as BTCUSDT or BTC-USDT-SWAP',
    base LowCardinality(String) COMMENT 'Asset that is bought',
    quote LowCardinality(String) COMMENT 'Asset that prices are in',
    settle LowCardinality(String) COMMENT 'Asset that profit is paid in, empty for spot',
    status LowCardinality(String) COMMENT 'The status in the words of the venue, such as TRADING or live',
    is_active Bool COMMENT 'Whether it can be traded, as ccxt reads the status',
    tick_size Nullable(Float64) COMMENT 'Smallest price step, in quote',
    lot_size Nullable(Float64) COMMENT 'Smallest size step, in base for spot, in contracts for perpetuals',
    contract_size Nullable(Float64) COMMENT 'Base units in one contract, NULL for spot',
    min_notional Nullable(Float64) COMMENT 'Smallest order value, in quote, NULL if the venue names none',
    listed_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the venue says it was listed, NULL if it does not say',
    delisted_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the venue says it ends or ended, NULL if it does not say',
    info String COMMENT 'The row of the venue as it came, JSON' CODEC(ZSTD(3)),
    valid_from DateTime64(3, 'UTC') COMMENT 'When this version was first observed, it holds until the next one of the same instrument'
)
ENGINE = ReplacingMergeTree
ORDER BY (instrument_id, valid_from)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Versions of what each venue says about each instrument. A refresh adds a row only where something changed.';

CREATE TABLE IF NOT EXISTS analytics.ingest_batches
(
    batch_id UUID COMMENT 'Derived from what was asked, what came and the batch it follows, so the same answer after a crash is the same batch',
    dataset LowCardinality(String) COMMENT 'Dataset asked for, such as bars',
    instrument_id UInt32 DEFAULT CRC32(concat(venue, '.', replaceOne(symbol, '/', '-'))) COMMENT 'Instrument asked for',
    venue LowCardinality(String) COMMENT 'Venue asked',
    symbol LowCardinality(String) COMMENT 'Symbol asked for, BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length asked for, such as 1m',
    window_start DateTime64(3, 'UTC') COMMENT 'Start of the window asked for, inclusive',
    window_end DateTime64(3, 'UTC') COMMENT 'End of the window asked for, exclusive, never later than the last bar the venue had closed by its own clock',
    status LowCardinality(String) COMMENT 'complete: the whole window was answered and every row is in landing, failed: see error',
    row_count UInt64 COMMENT 'Rows that came',
    content_hash String COMMENT 'SHA-256 of the rows, hexadecimal, equal hashes mean equal answers',
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    origin LowCardinality(String) COMMENT 'live, or sandbox when the exchange emulator answered',
    requests UInt32 COMMENT 'HTTP requests made, retries included',
    weight UInt32 COMMENT 'Cost of them in units of the rate limit of the venue',
    retries UInt32 COMMENT 'Requests that had to be repeated',
    waited_s Float64 COMMENT 'Seconds spent waiting for the rate budget and between retries',
    error String COMMENT 'Why it failed, empty when complete',
    evidence String COMMENT 'At most 4 kB of a body that could not be trusted' CODEC(ZSTD(3)),
    run_id String COMMENT 'Dagster run that asked',
    recorded_at DateTime64(3, 'UTC') COMMENT 'When this row was written: after its rows were acknowledged in landing'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (dataset, instrument_id, interval, window_start, recorded_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'The ledger: one row for every window a venue was asked for. What is left to fetch is what no complete batch covers.';

CREATE TABLE IF NOT EXISTS analytics.rejected_rows
(
    dataset LowCardinality(String) COMMENT 'Dataset of the row, such as bars',
    instrument_id UInt32 COMMENT 'Instrument of the row',
    venue LowCardinality(String) COMMENT 'Venue of the row',
    symbol LowCardinality(String) COMMENT 'Symbol of the row, BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length, such as 1m',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time of the row',
    rule LowCardinality(String) COMMENT 'Name of the first rule it breaks, in the order of judged_bars',
    row_hash UInt64 COMMENT 'Hash of the values of the row, so that two bad rows of one key are both kept',
    row String COMMENT 'The values of the row as landing has them, JSON' CODEC(ZSTD(3)),
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch that brought it',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When it came into landing',
    rejected_at DateTime64(3, 'UTC') COMMENT 'When it was judged'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (dataset, instrument_id, interval, timestamp, batch_id, row_hash)
COMMENT 'Landing rows that break a rule, kept and never corrected. Read with FINAL.';
