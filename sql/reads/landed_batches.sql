-- Which of some batches have rows in landing. Their rows lie in [start, end], both included.
SELECT DISTINCT batch_id
FROM analytics.{landing:Identifier}
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp <= {end:DateTime64(3, 'UTC')}
    AND batch_id IN {batches:Array(UUID)}
