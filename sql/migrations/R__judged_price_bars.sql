-- The rules of valid bars of prices, once: staging takes the rows whose rule is empty, rejected_rows the others.
-- A premium may be zero or negative; a mark or index price may not. Order matters: a row is named after the first rule it breaks.

CREATE OR REPLACE VIEW analytics.judged_price_bars
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Series: price type and bar length, such as mark_1m',
    timestamp DateTime64(3, 'UTC') COMMENT 'Open time as the venue gave it',
    open Nullable(Float64) COMMENT 'First price, in quote, of a premium a share of the index, NULL if what came is not a number',
    high Nullable(Float64) COMMENT 'Highest price, in quote, of a premium a share of the index, NULL if what came is not a number',
    low Nullable(Float64) COMMENT 'Lowest price, in quote, of a premium a share of the index, NULL if what came is not a number',
    close Nullable(Float64) COMMENT 'Last price, in quote, of a premium a share of the index, NULL if what came is not a number',
    sample_count Nullable(UInt32) COMMENT 'Prices that the venue made the bar of, about one a second, NULL if it does not say',
    source LowCardinality(String) COMMENT 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come',
    version UInt64 COMMENT 'Finality rank of the source (top byte), ingested_at in milliseconds (41 bits), hash of the values (15 bits)',
    is_final Bool COMMENT 'Whether the bar was closed when we asked',
    rule String COMMENT 'First rule the row breaks, empty when it is valid',
    row_hash UInt64 COMMENT 'Hash of the values as they came, for rejected_rows',
    row String COMMENT 'The values as they came, JSON, for rejected_rows'
)
AS SELECT
    instrument_id, venue, symbol, interval, timestamp, open, high, low, close, sample_count, source, batch_id, ingested_at,
    bitShiftLeft(toUInt64(transform(source, ['archive_daily', 'archive_monthly', 'archive', 'rest', 'archive_unverified', 'ws'], [4, 3, 3, 2, 2, 1], 0)), 56)
        + bitShiftLeft(toUInt64(toUnixTimestamp64Milli(ingested_at)), 15)
        + bitAnd(cityHash64(tuple(open, high, low, close, sample_count)), 32767) AS version,
    is_closed AS is_final,
    multiIf(
        open IS NULL OR high IS NULL OR low IS NULL OR close IS NULL, 'required_columns_are_not_null',
        NOT (isFinite(assumeNotNull(open)) AND isFinite(assumeNotNull(high)) AND isFinite(assumeNotNull(low))
            AND isFinite(assumeNotNull(close))), 'numbers_are_finite',
        NOT startsWith(interval, 'premium_') AND (assumeNotNull(open) <= 0 OR assumeNotNull(high) <= 0 OR assumeNotNull(low) <= 0
            OR assumeNotNull(close) <= 0), 'prices_are_positive',
        assumeNotNull(high) < greatest(assumeNotNull(open), assumeNotNull(close), assumeNotNull(low))
            OR assumeNotNull(low) > least(assumeNotNull(open), assumeNotNull(close)), 'ohlc_is_sane',
        ''
    ) AS rule,
    cityHash64(tuple(close_time, open, high, low, close, sample_count, is_closed, metadata)) AS row_hash,
    toJSONString(map(
        'open', toString(open), 'high', toString(high), 'low', toString(low), 'close', toString(close), 'metadata', metadata)) AS row
FROM analytics.landing_price_bars
COMMENT 'landing_price_bars with the version of each row and the first rule it breaks. Internal: the one place where the rules stand.';
