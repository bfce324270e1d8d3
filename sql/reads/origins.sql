-- Who fed this warehouse so far: live, sandbox, or nobody yet. A window that failed brought nothing.
SELECT DISTINCT origin FROM analytics.ingest_batches WHERE status = 'complete' ORDER BY origin
