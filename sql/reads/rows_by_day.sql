-- Rows of one table of a dataset by instrument and day, for the events of partitions: counted as row_counts does.
SELECT instrument_id, toDate(timestamp) AS day, count() AS rows
FROM {database:Identifier}.{table:Identifier}
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
GROUP BY instrument_id, day
