-- The contract with researchers: columns are only ever added.

CREATE OR REPLACE VIEW analytics.v_price_bars
(
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    price_type LowCardinality(String) COMMENT 'mark: what positions are valued at, index: the mean of spot markets, premium: of the perpetual over the index',
    interval LowCardinality(String) COMMENT 'Bar length: 1m, 5m, 15m, 1h, 4h or 1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time exactly as the venue gave it',
    timestamp_unix Int64 COMMENT 'Open time, milliseconds since 1970',
    open Float64 COMMENT 'First price, in quote, of a premium a share of the index',
    high Float64 COMMENT 'Highest price, in quote, of a premium a share of the index',
    low Float64 COMMENT 'Lowest price, in quote, of a premium a share of the index',
    close Float64 COMMENT 'Last price, in quote, of a premium a share of the index',
    sample_count Nullable(UInt32) COMMENT 'Prices that the venue made the bar of, about one a second, NULL if it does not say',
    source LowCardinality(String) COMMENT 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come',
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row',
    step_ms Int64 COMMENT 'Bar length in milliseconds',
    series LowCardinality(String) COMMENT 'Price type and bar length, such as mark_1m, as v_coverage and v_gaps name it'
)
AS SELECT
    p.venue, p.symbol, p.instrument_id, substringIndex(p.interval, '_', 1) AS price_type, substringIndex(p.interval, '_', -1) AS interval,
    p.timestamp, p.timestamp_unix, p.open, p.high, p.low, p.close, p.sample_count, p.source, p.ingested_at, p.published_at, p.batch_id, p.step_ms,
    p.interval AS series
FROM analytics.price_bars AS p FINAL
COMMENT 'Closed bars of mark, index and premium prices of perpetuals, one row a key, current version. No volume: nothing is traded at them.';
