-- The contract with researchers: columns are only ever added.

CREATE OR REPLACE VIEW analytics.v_derived_bars
(
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    interval LowCardinality(String) COMMENT 'Bar length: 5m, 15m, 30m, 1h, 4h or 1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the bucket, whose minutes are those that open in it',
    timestamp_unix Int64 COMMENT 'Start of the bucket, milliseconds since 1970',
    open Float64 COMMENT 'First price, in quote',
    high Float64 COMMENT 'Highest price, in quote',
    low Float64 COMMENT 'Lowest price, in quote',
    close Float64 COMMENT 'Last price, in quote',
    volume Float64 COMMENT 'Amount traded, in base',
    quote_volume Nullable(Float64) COMMENT 'Amount traded, in quote, NULL if a minute does not say',
    trade_count Nullable(UInt64) COMMENT 'Trades in the bar, NULL if a minute does not say',
    taker_buy_base_volume Nullable(Float64) COMMENT 'Part of volume whose buyer was the taker, NULL if a minute does not say',
    taker_buy_quote_volume Nullable(Float64) COMMENT 'The same in quote, NULL if a minute does not say',
    source LowCardinality(String) COMMENT 'derived: made of minutes, whose own sources are in bars',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the latest answer of the venue for a minute had come',
    contract_volume Nullable(Float64) COMMENT 'Amount traded, in contracts, NULL if a minute does not say',
    close_time Nullable(DateTime64(3, 'UTC')) COMMENT 'Close time of the last minute, NULL if the venue gives none',
    published_at DateTime64(3, 'UTC') COMMENT 'When the last of its minutes was published',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the minute published last',
    step_ms Int64 COMMENT 'Bar length in milliseconds',
    vwap Nullable(Float64) COMMENT 'Mean price by amount traded, in quote, NULL without trades or quote volume',
    minutes_expected UInt16 COMMENT 'Minutes the bucket has',
    minutes_present UInt16 COMMENT 'Minutes of the bucket that have a bar',
    is_complete Bool COMMENT 'Whether every minute of the bucket has a bar'
)
AS SELECT
    venue, symbol, instrument_id, interval, timestamp, timestamp_unix, open, high, low, close, volume,
    quote_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume, source, ingested_at,
    contract_volume, close_time, published_at, batch_id, step_ms, vwap, minutes_expected, minutes_present, is_complete
FROM analytics.derived_bars FINAL
COMMENT 'Bars of 5m to 1d made of the published 1m bars, one row a key, closed buckets with a minute at least. What the venue says itself is in v_bars.';
