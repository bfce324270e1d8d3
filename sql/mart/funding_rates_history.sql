-- Staging -> history: only rows whose values differ from the last published version of their key. A rerun adds nothing.
-- The server says when, and never up to the instant of a snapshot, whatever its clock does: see research/snapshots.py.
INSERT INTO analytics.funding_rates_history
(
    instrument_id, venue, symbol, timestamp, timestamp_raw, rate_type, rate, predicted_rate, mark_price,
    index_price, interest_rate, estimated_settle_price, next_rate, next_timestamp, previous_rate,
    previous_timestamp, metadata, source, batch_id, ingested_at, version, published_at
)
SELECT
    instrument_id, venue, symbol, timestamp, timestamp_raw, rate_type, rate, predicted_rate, mark_price,
    index_price, interest_rate, estimated_settle_price, next_rate, next_timestamp, previous_rate,
    previous_timestamp, metadata, source, batch_id, ingested_at, version,
    greatest(now64(3, 'UTC'), (SELECT max(pinned_at) + INTERVAL 1 MILLISECOND FROM analytics.snapshots)) AS published_at
FROM analytics.staging_funding_rates AS staged FINAL
LEFT ANTI JOIN
(
    SELECT
        instrument_id, rate_type, timestamp,
        argMax(
            cityHash64(tuple(timestamp_raw, rate, predicted_rate, mark_price, index_price, interest_rate, estimated_settle_price,
                next_rate, next_timestamp, previous_rate, previous_timestamp, metadata)),
            version) AS content
    FROM analytics.funding_rates_history
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, rate_type, timestamp
) AS published
ON staged.instrument_id = published.instrument_id AND staged.rate_type = published.rate_type AND staged.timestamp = published.timestamp
    AND cityHash64(tuple(staged.timestamp_raw, staged.rate, staged.predicted_rate, staged.mark_price, staged.index_price,
        staged.interest_rate, staged.estimated_settle_price, staged.next_rate, staged.next_timestamp,
        staged.previous_rate, staged.previous_timestamp, staged.metadata)) = published.content
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
