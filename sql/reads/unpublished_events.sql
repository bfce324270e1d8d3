-- Days of which mart/events would still write something: staged ids of the published series that the table lacks.
SELECT DISTINCT instrument_id, toDate(timestamp) AS day
FROM {database:Identifier}.{staging:Identifier}
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND (
        instrument_id NOT IN (SELECT instrument_id FROM analytics.published_series WHERE dataset = {dataset:String})
        OR (instrument_id, {series:Identifier}) IN
        (
            SELECT instrument_id, argMin(series, since) FROM analytics.published_series WHERE dataset = {dataset:String} GROUP BY instrument_id
        )
    )
    AND (instrument_id, {id:Identifier}) NOT IN
    (
        SELECT instrument_id, {id:Identifier}
        FROM {database:Identifier}.{current:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
