-- The highest valid, final version of each key in landing is the one in staging, and what breaks a rule is rejected.
-- Then every landing row is in staging, rejected, or superseded; and staging holds nothing landing does not.
-- What this finds is a bug of ours or lost data, never a fault of a venue. `series` is the interval, or the kind of rate.
-- Both tables are met once, side by side: joining them took half as long again.
SELECT venue, symbol, series, min(timestamp) AS first, max(timestamp) AS last, count() AS rows, what
FROM
(
    SELECT
        any(venue) AS venue, any(symbol) AS symbol, series, timestamp,
        if(max(landed) > max(staged), 'in landing, neither staged nor superseded', 'in staging, not in landing') AS what
    FROM
    (
        SELECT instrument_id, venue, symbol, {series:Identifier} AS series, timestamp, version AS landed, 0 AS staged
        FROM {database:Identifier}.{judged:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND is_final AND rule = ''
        UNION ALL
        SELECT instrument_id, venue, symbol, {series:Identifier}, timestamp, 0, version
        FROM {database:Identifier}.{staging:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
    GROUP BY instrument_id, series, timestamp
    HAVING max(landed) != max(staged)
    UNION ALL
    SELECT venue, symbol, {series:Identifier}, timestamp, 'in landing, breaks a rule, not rejected'
    FROM {database:Identifier}.{judged:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND is_final AND rule != ''
        AND (instrument_id, timestamp, batch_id) NOT IN  -- a batch is of one interval
        (
            SELECT instrument_id, timestamp, batch_id
            FROM analytics.rejected_rows
            WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        )
)
GROUP BY venue, symbol, series, what
ORDER BY venue, symbol, series, what
