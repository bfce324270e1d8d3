-- What complete batches answer of [start, end), as few windows as possible.
SELECT instrument_id, interval, answered_from, answered_until, batch_id
FROM analytics.answered_windows(
    dataset = {dataset:String}, instruments = {instruments:Array(UInt32)},
    start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
ORDER BY instrument_id, interval, answered_from
