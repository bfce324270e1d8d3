-- Which series of events is read of instruments: what was published first.
SELECT instrument_id, argMin(series, since) AS series
FROM analytics.published_series
WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
GROUP BY instrument_id
