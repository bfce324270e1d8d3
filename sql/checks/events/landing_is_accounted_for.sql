-- The highest valid version of each id in landing is the one in staging, and what breaks a rule is rejected.
-- Then every landing row is in staging, rejected, or superseded; and staging holds nothing landing does not.
-- What this finds is a bug of ours or lost data, never a fault of a venue. As of every dataset, with the id in the key.
-- An hour in which both hold the very same ids and versions has nothing to tell: only ids of the others are looked at one by one.
-- The list of hours is a scalar, which the server works out once, however often it is named.
WITH
    (
        SELECT groupArray((instrument_id, hour))
        FROM
        (
            SELECT instrument_id, hour
            FROM
            (
                SELECT instrument_id, toStartOfHour(timestamp) AS hour, cityHash64({series:Identifier}, {id:Identifier}, version) AS landed, 0 AS staged
                FROM {database:Identifier}.{judged:Identifier}
                WHERE instrument_id IN {instruments:Array(UInt32)}
                    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
                    AND is_final AND rule = ''
                UNION ALL
                SELECT instrument_id, toStartOfHour(timestamp), 0, cityHash64({series:Identifier}, {id:Identifier}, version)
                FROM {database:Identifier}.{staging:Identifier}
                WHERE instrument_id IN {instruments:Array(UInt32)}
                    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            )
            GROUP BY instrument_id, hour
            HAVING sum(landed) != sum(staged)
        )
    ) AS doubtful,
    looked_at AS
    (
        SELECT instrument_id, {id:Identifier}
        FROM {database:Identifier}.{landing:Identifier}
        WHERE notEmpty(doubtful) AND instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND has(doubtful, (instrument_id, toStartOfHour(timestamp)))
        UNION ALL
        SELECT instrument_id, {id:Identifier}
        FROM {database:Identifier}.{staging:Identifier}
        WHERE notEmpty(doubtful) AND instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND has(doubtful, (instrument_id, toStartOfHour(timestamp)))
    )
SELECT venue, symbol, series, min(timestamp) AS first, max(timestamp) AS last, count() AS rows, what
FROM
(
    SELECT
        any(venue) AS venue, any(symbol) AS symbol, series, any(timestamp) AS timestamp,
        if(max(landed) > max(staged), 'in landing, neither staged nor superseded', 'in staging, not in landing') AS what
    FROM
    (
        SELECT instrument_id, venue, symbol, {series:Identifier} AS series, timestamp, {id:Identifier} AS id, version AS landed, 0 AS staged
        FROM {database:Identifier}.{judged:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND is_final AND rule = '' AND notEmpty(doubtful) AND (instrument_id, {id:Identifier}) IN looked_at
        UNION ALL
        SELECT instrument_id, venue, symbol, {series:Identifier}, timestamp, {id:Identifier}, 0, version
        FROM {database:Identifier}.{staging:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND notEmpty(doubtful) AND (instrument_id, {id:Identifier}) IN looked_at
    )
    GROUP BY instrument_id, series, id
    HAVING max(landed) != max(staged)
    UNION ALL
    SELECT venue, symbol, {series:Identifier}, timestamp, 'in landing, breaks a rule, not rejected'
    FROM {database:Identifier}.{judged:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND is_final AND rule != ''
        AND (instrument_id, batch_id, row_hash) NOT IN
        (
            SELECT instrument_id, batch_id, row_hash
            FROM analytics.rejected_rows
            WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        )
)
GROUP BY venue, symbol, series, what
ORDER BY venue, symbol, series, what
