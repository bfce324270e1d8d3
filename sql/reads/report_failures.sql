-- What went wrong while a period was asked for, alike errors together.
SELECT venue, dataset, error, count() AS windows, uniqExact(instrument_id) AS instruments, max(recorded_at) AS last_at
FROM analytics.ingest_batches
WHERE status = 'failed' AND window_start < {end:DateTime64(3, 'UTC')} AND window_end > {start:DateTime64(3, 'UTC')}
GROUP BY venue, dataset, error
ORDER BY windows DESC, last_at DESC, venue, error
LIMIT 50
