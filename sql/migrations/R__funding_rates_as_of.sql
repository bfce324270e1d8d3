-- The contract with researchers: columns are only ever added, and are those of v_funding.
-- interval_hours looks beyond start and end, so that it does not depend on where a range begins or ends; as of before
-- reading_rules says, it is across a hole what it was. Bounds are those observed until as_of.

CREATE OR REPLACE VIEW analytics.funding_rates_as_of
AS SELECT
    f.venue AS venue, f.symbol AS symbol, f.instrument_id AS instrument_id, f.timestamp AS timestamp, f.timestamp_unix AS timestamp_unix,
    f.timestamp_raw AS timestamp_raw, f.rate_type AS rate_type, f.rate AS rate,
    f.predicted_rate AS predicted_rate, f.mark_price AS mark_price, f.index_price AS index_price, f.interest_rate AS interest_rate,
    f.estimated_settle_price AS estimated_settle_price, f.next_rate AS next_rate, f.next_timestamp AS next_timestamp,
    f.previous_rate AS previous_rate, f.previous_timestamp AS previous_timestamp, f.interval_hours AS interval_hours,
    coalesce(if(f.rate < 0, -b.funding_rate_floor, b.funding_rate_cap), 0.05) AS rate_bound,
    CAST(abs(f.rate) > rate_bound, 'Bool') AS is_out_of_bounds,
    f.source AS source, f.ingested_at AS ingested_at, f.published_at AS published_at, f.batch_id AS batch_id, f.metadata AS metadata
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
                PARTITION BY instrument_id, rate_type ORDER BY timestamp ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING) AS usual_after_s,
            if({as_of:DateTime64(3, 'UTC')} >= (SELECT min(since) FROM analytics.reading_rules WHERE rule = 'no_interval_across_a_hole'),
                usual_after_s, NULL) AS after_s
        FROM
        (
            SELECT
                *, toUnixTimestamp64Milli(timestamp) AS timestamp_unix,
                dateDiff('second', lagInFrame(toNullable(timestamp)) OVER (
                    PARTITION BY instrument_id, rate_type ORDER BY timestamp
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), timestamp) AS gap_s
            FROM
            (
                SELECT *
                FROM analytics.funding_rates_history
                WHERE published_at <= {as_of:DateTime64(3, 'UTC')} AND instrument_id IN {instruments:Array(UInt32)}
                ORDER BY instrument_id, rate_type, timestamp, version DESC, published_at
                LIMIT 1 BY instrument_id, rate_type, timestamp
            )
        )
    )
) AS f
ASOF LEFT JOIN
(
    SELECT instrument_id, valid_from, funding_rate_cap, funding_rate_floor
    FROM analytics.instruments FINAL
    WHERE valid_from <= {as_of:DateTime64(3, 'UTC')} AND instrument_id IN {instruments:Array(UInt32)}
) AS b ON f.instrument_id = b.instrument_id AND f.timestamp >= b.valid_from
WHERE f.timestamp >= {start:DateTime64(3, 'UTC')} AND f.timestamp < {end:DateTime64(3, 'UTC')}
COMMENT 'v_funding as it was at one moment: funding_rates_as_of(as_of, instruments, start, end), the range half-open.';
