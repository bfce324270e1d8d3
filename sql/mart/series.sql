-- Which series of events is published of an instrument: the first that comes. Two tell of the same events.
INSERT INTO analytics.published_series (dataset, instrument_id, series, since)
SELECT {dataset:String}, instrument_id, max({series:Identifier}), now64(3, 'UTC')
FROM {database:Identifier}.{staging:Identifier}
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND instrument_id NOT IN (SELECT instrument_id FROM analytics.published_series WHERE dataset = {dataset:String})
GROUP BY instrument_id
