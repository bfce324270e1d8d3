-- What was asked of each venue for a period, and what it cost; a request may cover more than the period.
SELECT venue, dataset, count() AS windows, countIf(status = 'failed') AS windows_failed,
    countIf(status = 'failed' AND startsWith(error, 'VenueLimited')) AS windows_limited, sum(row_count) AS rows_in,
    sum(b.requests) AS requests, sum(b.weight) AS weight, sum(b.retries) AS retries, round(sum(b.waited_s), 3) AS waited_s,
    min(recorded_at) AS first_at, max(recorded_at) AS last_at
FROM
(
    SELECT * FROM analytics.ingest_batches
    WHERE status NOT IN ('unserved', 'given') AND window_start < {end:DateTime64(3, 'UTC')} AND window_end > {start:DateTime64(3, 'UTC')}
    LIMIT 1 BY batch_id
) AS b
GROUP BY venue, dataset
ORDER BY dataset, venue
