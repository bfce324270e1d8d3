-- How far some runs have come: bars and windows of the ledger that they wrote.
SELECT sum(row_count) AS rows, sum(requests) AS requests, sum(weight) AS weight,
    sumIf(dateDiff('second', window_start, window_end) * 1000 / step_ms, status = 'complete') AS bars_answered
FROM
(
    SELECT *, transform(interval, ['1m', '5m', '15m', '1h', '4h', '1d'], [60000, 300000, 900000, 3600000, 14400000, 86400000], 60000) AS step_ms
    FROM analytics.ingest_batches
    WHERE run_id IN {runs:Array(String)}
)
