-- Landing rows -> the current truth: closed, valid rows of a higher version than staging has of their key.
INSERT INTO analytics.staging_fear_greed_index
(instrument_id, venue, symbol, interval, timestamp, value, classification, source, batch_id, ingested_at, version)
SELECT
    l.instrument_id, l.venue, l.symbol, l.interval, l.timestamp, toUInt8(assumeNotNull(l.value)), l.classification,
    l.source, l.batch_id, l.ingested_at, l.version
FROM analytics.judged_fear_greed_index AS l
LEFT JOIN
(
    SELECT instrument_id, interval, timestamp, max(version) AS version
    FROM analytics.staging_fear_greed_index
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, interval, timestamp
) AS staged
ON l.instrument_id = staged.instrument_id AND l.interval = staged.interval AND l.timestamp = staged.timestamp
WHERE l.instrument_id IN {instruments:Array(UInt32)}
    AND l.timestamp >= {start:DateTime64(3, 'UTC')} AND l.timestamp < {end:DateTime64(3, 'UTC')}
    AND l.is_closed AND l.rule = ''
    AND l.version > staged.version
SETTINGS optimize_on_insert = 0
