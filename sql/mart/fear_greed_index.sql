-- History -> the current version of each day: whatever is newer than what fear_greed_index has. Also makes up for a publication cut short.
INSERT INTO analytics.fear_greed_index
(instrument_id, venue, symbol, interval, timestamp, value, classification, source, batch_id, ingested_at, version, published_at)
SELECT
    h.instrument_id, h.venue, h.symbol, h.interval, h.timestamp, h.value, h.classification, h.source, h.batch_id, h.ingested_at,
    h.version, h.published_at
FROM analytics.fear_greed_index_history AS h
LEFT JOIN
(
    SELECT instrument_id, interval, timestamp, max(version) AS version
    FROM analytics.fear_greed_index
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, interval, timestamp
) AS current
ON h.instrument_id = current.instrument_id AND h.interval = current.interval AND h.timestamp = current.timestamp
WHERE h.instrument_id IN {instruments:Array(UInt32)}
    AND h.timestamp >= {start:DateTime64(3, 'UTC')} AND h.timestamp < {end:DateTime64(3, 'UTC')}
    AND h.version > current.version
