-- Who fed this warehouse so far: live, sandbox, or nobody yet. A window that failed brought nothing; files count for the venues named then.
SELECT DISTINCT origin FROM analytics.ingest_batches WHERE status IN ('complete', 'given') ORDER BY origin
