-- Every settled landing row is in staging, rejected, or superseded by a higher version; and staging holds nothing landing does not.
-- What this finds is a bug of ours or lost data, never a fault of a venue.
SELECT venue, symbol, rate_type, min(timestamp) AS first, max(timestamp) AS last, count() AS rows, what
FROM
(
    SELECT l.venue AS venue, l.symbol AS symbol, l.rate_type AS rate_type, l.timestamp AS timestamp,
        'in landing, neither staged nor superseded' AS what
    FROM analytics.judged_funding_rates AS l
    LEFT JOIN
    (
        SELECT instrument_id, rate_type, timestamp, max(version) AS version
        FROM analytics.staging_funding_rates
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, rate_type, timestamp
    ) AS s ON l.instrument_id = s.instrument_id AND l.rate_type = s.rate_type AND l.timestamp = s.timestamp
    WHERE l.instrument_id IN {instruments:Array(UInt32)}
        AND l.timestamp >= {start:DateTime64(3, 'UTC')} AND l.timestamp < {end:DateTime64(3, 'UTC')}
        AND l.is_settled AND l.rule = '' AND l.version > s.version
    UNION ALL
    SELECT l.venue, l.symbol, l.rate_type, l.timestamp, 'in landing, breaks a rule, not rejected'
    FROM analytics.judged_funding_rates AS l
    WHERE l.instrument_id IN {instruments:Array(UInt32)}
        AND l.timestamp >= {start:DateTime64(3, 'UTC')} AND l.timestamp < {end:DateTime64(3, 'UTC')}
        AND l.is_settled AND l.rule != ''
        AND (l.instrument_id, l.timestamp, l.batch_id) NOT IN
        (
            SELECT instrument_id, timestamp, batch_id
            FROM analytics.rejected_rows
            WHERE dataset = 'funding_rates' AND instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        )
    UNION ALL
    SELECT s.venue, s.symbol, s.rate_type, s.timestamp, 'in staging, not in landing'
    FROM analytics.staging_funding_rates AS s FINAL
    WHERE s.instrument_id IN {instruments:Array(UInt32)}
        AND s.timestamp >= {start:DateTime64(3, 'UTC')} AND s.timestamp < {end:DateTime64(3, 'UTC')}
        AND (s.instrument_id, s.rate_type, s.timestamp, s.version) NOT IN
        (
            SELECT instrument_id, rate_type, timestamp, version
            FROM analytics.judged_funding_rates
            WHERE instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
                AND is_settled AND rule = ''
        )
)
GROUP BY venue, symbol, rate_type, what
ORDER BY venue, symbol, rate_type, what
