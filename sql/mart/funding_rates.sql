-- History -> the current version of each settlement: whatever is newer than what funding_rates has. Also makes up for a publication cut short.
INSERT INTO analytics.funding_rates
(
    instrument_id, venue, symbol, timestamp, timestamp_raw, rate_type, rate, predicted_rate, mark_price,
    index_price, interest_rate, estimated_settle_price, next_rate, next_timestamp, previous_rate,
    previous_timestamp, metadata, source, batch_id, ingested_at, version, published_at
)
SELECT
    h.instrument_id, h.venue, h.symbol, h.timestamp, h.timestamp_raw, h.rate_type, h.rate, h.predicted_rate,
    h.mark_price, h.index_price, h.interest_rate, h.estimated_settle_price, h.next_rate, h.next_timestamp,
    h.previous_rate, h.previous_timestamp, h.metadata, h.source, h.batch_id, h.ingested_at, h.version,
    h.published_at
FROM analytics.funding_rates_history AS h
LEFT JOIN
(
    SELECT instrument_id, rate_type, timestamp, max(version) AS version
    FROM analytics.funding_rates
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, rate_type, timestamp
) AS current
ON h.instrument_id = current.instrument_id AND h.rate_type = current.rate_type AND h.timestamp = current.timestamp
WHERE h.instrument_id IN {instruments:Array(UInt32)}
    AND h.timestamp >= {start:DateTime64(3, 'UTC')} AND h.timestamp < {end:DateTime64(3, 'UTC')}
    AND h.version > current.version
