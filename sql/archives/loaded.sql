-- The files whose bars are in landing, as they were when they were read: to ask whether the venue still has the same ones.
SELECT venue, symbol, interval, key, etag, period_start, period_end
FROM analytics.archive_files FINAL
WHERE status IN ('loaded', 'unverified') AND venue IN {venues:Array(String)}
ORDER BY venue, symbol, interval, period_start, key
