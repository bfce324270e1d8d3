-- What has been answered, for planning fetches and for knowing which bars to expect. Parameters: dataset, instruments, start, end.
-- No window is longer than a year, so what begins more than that before start need not be read: the ledger is long.

CREATE OR REPLACE VIEW analytics.answered_windows
AS SELECT
    instrument_id,
    any(venue) AS venue,
    any(symbol) AS symbol,
    interval,
    greatest(min(window_start), {start:DateTime64(3, 'UTC')}) AS answered_from,
    least(max(window_end), {end:DateTime64(3, 'UTC')}) AS answered_until,
    argMax(batch_id, recorded_at) AS batch_id,
    any(step_ms) AS step_ms
FROM
(
    SELECT *, sum(opens) OVER (PARTITION BY instrument_id, interval ORDER BY window_start, window_end, recorded_at) AS island
    FROM
    (
        SELECT
            instrument_id, venue, symbol, interval, window_start, window_end, recorded_at, batch_id, step_ms,
            window_start > max(window_end) OVER (
                PARTITION BY instrument_id, interval ORDER BY window_start, window_end, recorded_at
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS opens
        FROM analytics.ingest_batches
        WHERE dataset = {dataset:String} AND status = 'complete'
            AND instrument_id IN {instruments:Array(UInt32)}
            AND window_start < {end:DateTime64(3, 'UTC')} AND window_end > {start:DateTime64(3, 'UTC')}
            AND window_start > {start:DateTime64(3, 'UTC')} - toIntervalDay(367)
            AND window_end > window_start
    )
)
GROUP BY instrument_id, interval, island
COMMENT 'Windows that complete batches answer, merged into maximal ones and cut to [start, end), batch_id is the latest among them. Internal.';
