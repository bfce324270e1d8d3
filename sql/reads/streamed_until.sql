-- The last published minute of each instrument since a time: where its stream goes on.
SELECT instrument_id, max(timestamp) AS last
FROM analytics.bars
WHERE instrument_id IN {instruments:Array(UInt32)} AND interval = '1m' AND timestamp >= {since:DateTime64(3, 'UTC')}
GROUP BY instrument_id
