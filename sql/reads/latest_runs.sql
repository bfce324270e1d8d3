-- The latest runs that asked venues, a line a window: what each cost, for the share of the ceiling that was reached.
SELECT run_id, dataset, venue, source, interval, window_start, window_end, recorded_at, row_count, requests, weight, waited_s
FROM analytics.ingest_batches
WHERE status != 'unserved' AND run_id IN (
    SELECT run_id FROM analytics.ingest_batches WHERE requests > 0
    GROUP BY run_id ORDER BY max(recorded_at) DESC LIMIT {runs:UInt32})
ORDER BY recorded_at
