-- Per series: up to when the venue was asked and answered, and when that was.
SELECT dataset, concat(any(venue), '.', replaceOne(any(symbol), '/', '-')) AS instrument, interval,
    max(window_end) AS answered_until, max(recorded_at) AS asked_at,
    dateDiff('second', answered_until, {now:DateTime64(3, 'UTC')}) AS age_s
FROM analytics.ingest_batches
WHERE status = 'complete'
GROUP BY dataset, instrument_id, interval
ORDER BY dataset, any(venue), any(symbol), interval
