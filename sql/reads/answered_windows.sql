-- What complete batches answer of [start, end), as few windows as possible. The end of a series that was asked for sooner than
-- final_after_s after it closed is left out: it is asked for once more. (Recorded well before it closed: by another clock.)
SELECT instrument_id, interval, answered_from, least(answered_until, settled_until) AS answered_until, batch_id
FROM analytics.answered_windows(
    dataset = {dataset:String}, instruments = {instruments:Array(UInt32)},
    start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')}) AS w
INNER JOIN
(
    SELECT
        instrument_id, interval,
        max(if(
            recorded_at >= window_end - toIntervalSecond(10) AND recorded_at < window_end + toIntervalSecond({final_after_s:UInt32}),
            fromUnixTimestamp64Milli(intDiv(toUnixTimestamp64Milli(recorded_at) - 1000 * toInt64({final_after_s:UInt32}), step_ms) * step_ms, 'UTC'),
            window_end)) AS settled_until
    FROM
    (
        SELECT
            instrument_id, interval, recorded_at, window_end, if(b.step_ms = 0, 60000, b.step_ms) AS step_ms
        FROM analytics.ingest_batches AS b
        WHERE dataset = {dataset:String} AND status = 'complete'
            AND instrument_id IN {instruments:Array(UInt32)}
            AND window_start < {end:DateTime64(3, 'UTC')} AND window_end > {start:DateTime64(3, 'UTC')}
            AND window_start > {start:DateTime64(3, 'UTC')} - toIntervalDay(367)
    )
    GROUP BY instrument_id, interval
) AS s ON w.instrument_id = s.instrument_id AND w.interval = s.interval
WHERE answered_from < least(w.answered_until, settled_until)
ORDER BY instrument_id, interval, answered_from
