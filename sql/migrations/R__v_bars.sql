-- The contract with researchers: columns are only ever added.

CREATE OR REPLACE VIEW analytics.v_bars
(
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    interval LowCardinality(String) COMMENT 'Bar length: 1m, 5m, 15m, 1h, 4h or 1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time exactly as the venue gave it, off-grid ones too',
    timestamp_unix Int64 COMMENT 'Open time, milliseconds since 1970',
    open Float64 COMMENT 'First price, in quote',
    high Float64 COMMENT 'Highest price, in quote',
    low Float64 COMMENT 'Lowest price, in quote',
    close Float64 COMMENT 'Last price, in quote',
    volume Float64 COMMENT 'Amount traded, in base',
    quote_volume Nullable(Float64) COMMENT 'Amount traded, in quote, NULL if the venue does not say',
    trade_count Nullable(UInt64) COMMENT 'Trades in the bar, NULL if the venue does not say',
    taker_buy_base_volume Nullable(Float64) COMMENT 'Part of volume whose buyer was the taker, NULL if the venue does not say',
    taker_buy_quote_volume Nullable(Float64) COMMENT 'The same in quote, NULL if the venue does not say',
    source LowCardinality(String) COMMENT 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none), ws, or file (alphaforge ingest)',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come',
    contract_volume Nullable(Float64) COMMENT 'Amount traded, in contracts, NULL where the venue counts in base',
    close_time Nullable(DateTime64(3, 'UTC')) COMMENT 'Close time as the venue gave it, NULL if it gives none',
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row',
    step_ms Int64 COMMENT 'Bar length in milliseconds'
)
AS SELECT
    venue, symbol, instrument_id, interval, timestamp, timestamp_unix, open, high, low, close, volume,
    quote_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume, source, ingested_at,
    contract_volume, close_time, published_at, batch_id, step_ms
FROM analytics.bars FINAL
COMMENT 'Closed OHLCV bars, one row a key, current version. A bar that is not here was not served by the venue: see ingest_batches.';
