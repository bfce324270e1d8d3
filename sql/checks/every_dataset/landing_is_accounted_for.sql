-- Every final landing row is in staging, rejected, or superseded by a higher version; and staging holds nothing landing does not.
-- What this finds is a bug of ours or lost data, never a fault of a venue. `series` is the interval, or the kind of rate.
SELECT venue, symbol, series, min(timestamp) AS first, max(timestamp) AS last, count() AS rows, what
FROM
(
    SELECT l.venue AS venue, l.symbol AS symbol, l.series AS series, l.timestamp AS timestamp,
        'in landing, neither staged nor superseded' AS what
    FROM
    (
        SELECT instrument_id, venue, symbol, {series:Identifier} AS series, timestamp, version
        FROM {database:Identifier}.{judged:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND {is_final:Identifier} AND rule = ''
    ) AS l
    LEFT JOIN
    (
        SELECT instrument_id, {series:Identifier} AS series, timestamp, max(version) AS version
        FROM {database:Identifier}.{staging:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, series, timestamp
    ) AS s ON l.instrument_id = s.instrument_id AND l.series = s.series AND l.timestamp = s.timestamp
    WHERE l.version > s.version
    UNION ALL
    SELECT venue, symbol, {series:Identifier}, timestamp, 'in landing, breaks a rule, not rejected'
    FROM {database:Identifier}.{judged:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND {is_final:Identifier} AND rule != ''
        AND (instrument_id, timestamp, batch_id) NOT IN  -- a batch is of one interval
        (
            SELECT instrument_id, timestamp, batch_id
            FROM analytics.rejected_rows
            WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        )
    UNION ALL
    SELECT venue, symbol, {series:Identifier}, timestamp, 'in staging, not in landing'
    FROM {database:Identifier}.{staging:Identifier} FINAL
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND (instrument_id, {series:Identifier}, timestamp, version) NOT IN
        (
            SELECT instrument_id, {series:Identifier}, timestamp, version
            FROM {database:Identifier}.{judged:Identifier}
            WHERE instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
                AND {is_final:Identifier} AND rule = ''
        )
)
GROUP BY venue, symbol, series, what
ORDER BY venue, symbol, series, what
