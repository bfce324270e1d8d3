-- How far some runs have come: rows, and seconds of windows answered, of the ledger that they wrote.
SELECT
    sum(row_count) AS rows, sum(requests) AS requests, sum(weight) AS weight,
    sumIf(dateDiff('second', window_start, window_end), status = 'complete') AS answered_s
FROM analytics.ingest_batches
WHERE run_id IN {runs:Array(String)}
