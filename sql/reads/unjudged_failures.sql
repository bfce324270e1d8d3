-- Spans that a venue failed to answer, that no later batch answered and no judgement has looked at since: a run that fails
-- does not come as far as its coverage.
SELECT instrument_id, min(window_start) AS start, max(window_end) AS end
FROM
(
    SELECT f.instrument_id AS instrument_id, f.window_start AS window_start, f.window_end AS window_end
    FROM
    (
        SELECT instrument_id, interval, window_start, window_end, max(recorded_at) AS failed_at
        FROM analytics.ingest_batches
        WHERE dataset = {dataset:String} AND status = 'failed' AND instrument_id IN {instruments:Array(UInt32)}
        GROUP BY instrument_id, interval, window_start, window_end
    ) AS f
    LEFT JOIN
    (
        SELECT instrument_id, interval, window_start AS start, window_end AS end, recorded_at AS at
        FROM analytics.ingest_batches
        WHERE dataset = {dataset:String} AND status = 'complete' AND instrument_id IN {instruments:Array(UInt32)}
        UNION ALL
        SELECT instrument_id, interval, gap_start, gap_end, last_seen
        FROM analytics.v_gaps
        WHERE dataset = {dataset:String} AND is_open AND instrument_id IN {instruments:Array(UInt32)}
    ) AS later ON f.instrument_id = later.instrument_id AND f.interval = later.interval
    GROUP BY instrument_id, f.interval, window_start, window_end, f.failed_at
    HAVING countIf(later.at >= f.failed_at AND later.start < f.window_end AND later.end > f.window_start) = 0
)
GROUP BY instrument_id
ORDER BY instrument_id
