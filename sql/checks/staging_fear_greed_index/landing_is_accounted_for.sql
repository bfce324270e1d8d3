-- Every closed landing row is in staging, rejected, or superseded by a higher version; and staging holds nothing landing does not.
-- What this finds is a bug of ours or lost data, never a fault of a venue.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows, what
FROM
(
    SELECT l.venue AS venue, l.symbol AS symbol, l.interval AS interval, l.timestamp AS timestamp,
        'in landing, neither staged nor superseded' AS what
    FROM analytics.judged_fear_greed_index AS l
    LEFT JOIN
    (
        SELECT instrument_id, interval, timestamp, max(version) AS version
        FROM analytics.staging_fear_greed_index
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, interval, timestamp
    ) AS s ON l.instrument_id = s.instrument_id AND l.interval = s.interval AND l.timestamp = s.timestamp
    WHERE l.instrument_id IN {instruments:Array(UInt32)}
        AND l.timestamp >= {start:DateTime64(3, 'UTC')} AND l.timestamp < {end:DateTime64(3, 'UTC')}
        AND l.is_closed AND l.rule = '' AND l.version > s.version
    UNION ALL
    SELECT l.venue, l.symbol, l.interval, l.timestamp, 'in landing, breaks a rule, not rejected'
    FROM analytics.judged_fear_greed_index AS l
    WHERE l.instrument_id IN {instruments:Array(UInt32)}
        AND l.timestamp >= {start:DateTime64(3, 'UTC')} AND l.timestamp < {end:DateTime64(3, 'UTC')}
        AND l.is_closed AND l.rule != ''
        AND (l.instrument_id, l.interval, l.timestamp, l.batch_id) NOT IN
        (
            SELECT instrument_id, interval, timestamp, batch_id
            FROM analytics.rejected_rows
            WHERE dataset = 'fear_greed_index' AND instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        )
    UNION ALL
    SELECT s.venue, s.symbol, s.interval, s.timestamp, 'in staging, not in landing'
    FROM analytics.staging_fear_greed_index AS s FINAL
    WHERE s.instrument_id IN {instruments:Array(UInt32)}
        AND s.timestamp >= {start:DateTime64(3, 'UTC')} AND s.timestamp < {end:DateTime64(3, 'UTC')}
        AND (s.instrument_id, s.interval, s.timestamp, s.version) NOT IN
        (
            SELECT instrument_id, interval, timestamp, version
            FROM analytics.judged_fear_greed_index
            WHERE instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
                AND is_closed AND rule = ''
        )
)
GROUP BY venue, symbol, interval, what
ORDER BY venue, symbol, interval, what
