-- The latest publication there is of some instruments of a dataset in [start, end): a snapshot may not be older.
SELECT max(published_at) AS published_until
FROM {database:Identifier}.{history:Identifier}
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
