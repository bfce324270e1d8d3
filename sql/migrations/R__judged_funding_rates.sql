-- The rules of valid settlements, once: staging takes the rows whose rule is empty, rejected_rows the others.
-- A rate beyond its bounds is no rule here: venues do settle such rates, and v_funding says so of each.

CREATE OR REPLACE VIEW analytics.judged_funding_rates
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(3, 'UTC') COMMENT 'Settlement time, rounded to the minute because venues are some milliseconds late',
    timestamp_raw DateTime64(3, 'UTC') COMMENT 'Settlement time exactly as the venue gave it',
    rate_type LowCardinality(String) COMMENT 'regular, or another kind that the venue names, such as special',
    rate Nullable(Float64) COMMENT 'Settled rate of the interval, as a share of the position value, positive when longs pay, NULL if what came is not a number',
    predicted_rate Nullable(Float64) COMMENT 'Rate last predicted for this settlement, NULL if the venue does not say',
    mark_price Nullable(Float64) COMMENT 'Mark price at settlement, in quote, NULL if the venue does not say',
    index_price Nullable(Float64) COMMENT 'Index price at settlement, in quote, NULL if the venue does not say',
    interest_rate Nullable(Float64) COMMENT 'Interest part of the rate, NULL if the venue does not say',
    estimated_settle_price Nullable(Float64) COMMENT 'Estimated settle price, in quote, NULL if the venue does not say',
    next_rate Nullable(Float64) COMMENT 'Rate the venue then expected for the next settlement, NULL if it does not say',
    next_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the next settlement as the venue then gave it, NULL if it does not say',
    previous_rate Nullable(Float64) COMMENT 'Rate of the settlement before as the venue then gave it, NULL if it does not say',
    previous_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the settlement before as the venue then gave it, NULL if it does not say',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing',
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come',
    version UInt64 COMMENT 'Finality rank of the source (top byte), ingested_at in milliseconds (41 bits), hash of the values (15 bits)',
    is_final Bool COMMENT 'Whether the settlement was over when we asked, by the clock of the venue',
    rule String COMMENT 'First rule the row breaks, empty when it is valid',
    row_hash UInt64 COMMENT 'Hash of the values as they came, for rejected_rows',
    row String COMMENT 'The values as they came, JSON, for rejected_rows'
)
AS SELECT
    instrument_id, venue, symbol, timestamp, timestamp_raw, rate_type, rate, predicted_rate, mark_price,
    index_price, interest_rate, estimated_settle_price, next_rate, next_timestamp, previous_rate,
    previous_timestamp, metadata, source, batch_id, ingested_at,
    -- A file's row says less than REST's, which has the mark price beside the rate: it does not outrank that.
    bitShiftLeft(toUInt64(transform(source, ['archive', 'rest', 'ws', 'archive_monthly', 'archive_unverified'], [3, 2, 1, 1, 1], 0)), 56)
        + bitShiftLeft(toUInt64(toUnixTimestamp64Milli(ingested_at)), 15)
        + bitAnd(cityHash64(tuple(timestamp_raw, rate, predicted_rate, mark_price, index_price, interest_rate, estimated_settle_price,
            next_rate, next_timestamp, previous_rate, previous_timestamp, metadata)), 32767) AS version,
    is_settled AS is_final,
    multiIf(
        unreadable != '', 'numbers_are_readable',
        rate IS NULL, 'required_columns_are_not_null',
        NOT isFinite(assumeNotNull(rate)), 'numbers_are_finite',
        ''
    ) AS rule,
    cityHash64(tuple(rate_type, timestamp_raw, rate, predicted_rate, mark_price, index_price, interest_rate, estimated_settle_price,
        next_rate, next_timestamp, previous_rate, previous_timestamp, metadata)) AS row_hash,
    toJSONString(map(
        'rate_type', toString(rate_type), 'rate', toString(rate), 'mark_price', toString(mark_price),
        'timestamp_raw', toString(timestamp_raw), 'unreadable', toString(unreadable), 'metadata', metadata)) AS row
FROM analytics.landing_funding_rates
COMMENT 'landing_funding_rates with the version of each row and the first rule it breaks. Internal: the one place where the rules stand.';
