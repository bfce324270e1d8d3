-- Landing rows -> which of them is the current truth: final, valid rows of a higher version than staging has of their key.
-- A version is never shared by two different rows, so which one stays does not depend on the order they are written in.
-- Columns go by their place, `series` where the table has the interval or the kind of rate.
INSERT INTO {database:Identifier}.{staging:Identifier}
SELECT landed.*
FROM
(
    SELECT instrument_id, venue, symbol, {series:Identifier} AS series, timestamp, version
    FROM {database:Identifier}.{judged:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND is_final AND rule = ''
) AS landed
LEFT JOIN
(
    SELECT instrument_id, {series:Identifier} AS series, timestamp, max(version) AS version
    FROM {database:Identifier}.{staging:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, series, timestamp
) AS staged
ON landed.instrument_id = staged.instrument_id AND landed.series = staged.series AND landed.timestamp = staged.timestamp
WHERE landed.version > staged.version
-- Collapsing within the insert costs a third of it and is done again by FINAL and by merges.
SETTINGS optimize_on_insert = 0
