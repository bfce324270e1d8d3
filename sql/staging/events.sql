-- Landing rows that are events with ids -> which of them counts: the valid row of a higher version than staging has of its id.
-- As staging/current, with the id in the key.
INSERT INTO {database:Identifier}.{staging:Identifier}
SELECT landed.*
FROM
(
    SELECT instrument_id, venue, symbol, timestamp, {series:Identifier} AS series, {id:Identifier} AS id, version
    FROM {database:Identifier}.{judged:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND is_final AND rule = ''
) AS landed
LEFT JOIN
(
    SELECT instrument_id, {series:Identifier} AS series, {id:Identifier} AS id, max(version) AS version
    FROM {database:Identifier}.{staging:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, series, id
) AS staged
ON landed.id = staged.id AND landed.instrument_id = staged.instrument_id AND landed.series = staged.series
WHERE landed.version > staged.version
SETTINGS optimize_on_insert = 0
