-- What one run asked of the venues, from the ledger; a batch counts once however often its row was written.
SELECT
    count() AS windows, countIf(status = 'failed') AS windows_failed, sum(row_count) AS rows_in,
    sum(b.requests) AS requests, sum(b.weight) AS weight, sum(b.retries) AS retries, sum(b.waited_s) AS waited_s,
    min(b.window_start) AS asked_from, max(b.window_end) AS asked_until,
    groupUniqArray(b.dataset) AS asked_datasets
FROM (SELECT * FROM analytics.ingest_batches WHERE run_id = {run:String} AND status != 'unserved' LIMIT 1 BY batch_id) AS b
