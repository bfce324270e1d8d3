-- The latest windows that venues answered, without a retry, and what they cost: to learn how much a venue gives a page.
SELECT venue, source, interval, window_start, window_end, recorded_at, row_count, requests, weight
FROM analytics.ingest_batches
WHERE dataset = {dataset:String} AND venue IN {venues:Array(String)} AND status = 'complete' AND retries = 0 AND requests > 0
ORDER BY recorded_at DESC
LIMIT 500 BY venue, source, interval
