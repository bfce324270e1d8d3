-- The contract with researchers: columns are only ever added. What a hole is, settlement_holes says: farther apart than is usual
-- of the three gaps before and of the three after.

CREATE OR REPLACE VIEW analytics.v_funding
(
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    timestamp DateTime64(3, 'UTC') COMMENT 'Settlement time, rounded to the minute because venues are some milliseconds late',
    timestamp_unix Int64 COMMENT 'Settlement time, milliseconds since 1970',
    timestamp_raw DateTime64(3, 'UTC') COMMENT 'Settlement time exactly as the venue gave it',
    rate_type LowCardinality(String) COMMENT 'regular, or another kind that the venue names, such as special',
    rate Float64 COMMENT 'Settled rate of the interval, as a share of the position value, positive when longs pay',
    predicted_rate Nullable(Float64) COMMENT 'Rate last predicted for this settlement, NULL if the venue does not say',
    mark_price Nullable(Float64) COMMENT 'Mark price at settlement, in quote, NULL if the venue does not say',
    index_price Nullable(Float64) COMMENT 'Index price at settlement, in quote, NULL if the venue does not say',
    interest_rate Nullable(Float64) COMMENT 'Interest part of the rate, NULL if the venue does not say',
    estimated_settle_price Nullable(Float64) COMMENT 'Estimated settle price, in quote, NULL if the venue does not say',
    next_rate Nullable(Float64) COMMENT 'Rate the venue then expected for the next settlement, NULL if it does not say',
    next_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the next settlement as the venue then gave it, NULL if it does not say',
    previous_rate Nullable(Float64) COMMENT 'Rate of the settlement before as the venue then gave it, NULL if it does not say',
    previous_timestamp Nullable(DateTime64(3, 'UTC')) COMMENT 'Time of the settlement before as the venue then gave it, NULL if it does not say',
    interval_hours Nullable(Float64) COMMENT 'Hours since the settlement before of the same instrument and rate_type, as observed, NULL for the first and across a hole',
    rate_bound Float64 COMMENT 'Largest share that the venue allowed on this side of zero when the instrument was last observed before the settlement, 0.05 where it is not known',
    is_out_of_bounds Bool COMMENT 'Whether the rate is beyond rate_bound',
    source LowCardinality(String) COMMENT 'rest, archive or ws',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come',
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing'
)
AS SELECT
    f.venue, f.symbol, f.instrument_id, f.timestamp, f.timestamp_unix, f.timestamp_raw, f.rate_type, f.rate,
    f.predicted_rate, f.mark_price, f.index_price, f.interest_rate, f.estimated_settle_price, f.next_rate,
    f.next_timestamp, f.previous_rate, f.previous_timestamp,
    f.interval_hours,
    coalesce(if(f.rate < 0, -b.funding_rate_floor, b.funding_rate_cap), 0.05) AS rate_bound,
    abs(f.rate) > rate_bound AS is_out_of_bounds,
    f.source, f.ingested_at, f.published_at, f.batch_id, f.metadata
FROM
(
    SELECT *, if(rate_type = 'regular' AND gap_s > before_s AND gap_s > after_s, NULL, gap_s / 3600) AS interval_hours
    FROM
    (
        SELECT
            *,
            quantileExactLow(0.5)(gap_s) OVER (
                PARTITION BY instrument_id, rate_type ORDER BY timestamp ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING) AS before_s,
            quantileExactLow(0.5)(gap_s) OVER (
                PARTITION BY instrument_id, rate_type ORDER BY timestamp ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING) AS after_s
        FROM
        (
            SELECT
                *, timestamp_unix,
                dateDiff('second', lagInFrame(toNullable(timestamp)) OVER (
                    PARTITION BY instrument_id, rate_type ORDER BY timestamp
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), timestamp) AS gap_s
            FROM analytics.funding_rates FINAL
        )
    )
) AS f
ASOF LEFT JOIN
(
    SELECT instrument_id, valid_from, funding_rate_cap, funding_rate_floor
    FROM analytics.instruments FINAL
) AS b ON f.instrument_id = b.instrument_id AND f.timestamp >= b.valid_from
COMMENT 'Funding settlements of perpetuals, one row a key (instrument_id, rate_type, timestamp), current version. The interval is observed, never assumed.';
