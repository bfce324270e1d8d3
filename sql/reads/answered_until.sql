-- Until when a dataset was answered last, per venue.
SELECT venue, max(window_end) AS answered_until
FROM analytics.ingest_batches
WHERE status = 'complete' AND dataset = {dataset:String} AND window_end > window_start
GROUP BY venue
