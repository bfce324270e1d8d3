-- Who fed this warehouse so far: live, sandbox, or nobody yet.
SELECT DISTINCT origin FROM analytics.ingest_batches ORDER BY origin
