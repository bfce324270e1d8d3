-- Days of which staging or rejected_rows is not what landing makes of them, as the check landing_is_accounted_for of events has it.
SELECT DISTINCT instrument_id, toDate(timestamp) AS day
FROM
(
    SELECT instrument_id, any(timestamp) AS timestamp
    FROM
    (
        SELECT instrument_id, {series:Identifier} AS series, {id:Identifier} AS id, timestamp, version AS landed, 0 AS staged
        FROM {database:Identifier}.{judged:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND is_final AND rule = ''
        UNION ALL
        SELECT instrument_id, {series:Identifier}, {id:Identifier}, timestamp, 0, version
        FROM {database:Identifier}.{staging:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
    GROUP BY instrument_id, series, id
    HAVING max(landed) != max(staged)
    UNION ALL
    SELECT instrument_id, timestamp
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
