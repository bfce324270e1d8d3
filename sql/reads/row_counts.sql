-- Rows of one table: all of it, and those of some instruments in [start, end).
SELECT
    (SELECT count() FROM {database:Identifier}.{table:Identifier}) AS total,
    count() AS in_range
FROM {database:Identifier}.{table:Identifier}
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
