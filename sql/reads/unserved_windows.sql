-- What the ledger already has of windows that nobody serves any more; they may overlap.
SELECT instrument_id, interval, window_start AS answered_from, max(window_end) AS answered_until, toString(any(batch_id)) AS batch_id
FROM analytics.ingest_batches
WHERE dataset = {dataset:String} AND status = 'unserved' AND instrument_id IN {instruments:Array(UInt32)}
    AND window_start < {end:DateTime64(3, 'UTC')} AND window_end > {start:DateTime64(3, 'UTC')}
GROUP BY instrument_id, interval, window_start
ORDER BY instrument_id, interval, window_start
