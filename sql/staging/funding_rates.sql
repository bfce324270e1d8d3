-- Landing rows -> the current truth: settled, valid rows of a higher version than staging has of their key.
-- Of two rows whose times differ only by jitter the higher version stays; both stay in landing.
INSERT INTO analytics.staging_funding_rates
(
    instrument_id, venue, symbol, timestamp, timestamp_raw, rate_type, rate, predicted_rate, mark_price,
    index_price, interest_rate, estimated_settle_price, next_rate, next_timestamp, previous_rate,
    previous_timestamp, metadata, source, batch_id, ingested_at, version
)
SELECT
    l.instrument_id, l.venue, l.symbol, l.timestamp, l.timestamp_raw, l.rate_type, l.rate, l.predicted_rate,
    l.mark_price, l.index_price, l.interest_rate, l.estimated_settle_price, l.next_rate, l.next_timestamp,
    l.previous_rate, l.previous_timestamp, l.metadata, l.source, l.batch_id, l.ingested_at, l.version
FROM analytics.judged_funding_rates AS l
LEFT JOIN
(
    SELECT instrument_id, rate_type, timestamp, max(version) AS version
    FROM analytics.staging_funding_rates
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, rate_type, timestamp
) AS staged
ON l.instrument_id = staged.instrument_id AND l.rate_type = staged.rate_type AND l.timestamp = staged.timestamp
WHERE l.instrument_id IN {instruments:Array(UInt32)}
    AND l.timestamp >= {start:DateTime64(3, 'UTC')} AND l.timestamp < {end:DateTime64(3, 'UTC')}
    AND l.is_settled AND l.rule = ''
    AND l.version > staged.version
