-- What venues have answered or files of somebody's own have given, for saying how much there is. Parameters: dataset, instruments.
-- As answered_windows, without an end: what is given counts here, and there it does not.

CREATE OR REPLACE VIEW analytics.told_windows
AS SELECT
    instrument_id,
    any(venue) AS venue,
    any(symbol) AS symbol,
    interval,
    min(window_start) AS told_from,
    max(window_end) AS told_until,
    any(step_ms) AS step_ms
FROM
(
    SELECT *, sum(opens) OVER (PARTITION BY instrument_id, interval ORDER BY window_start, window_end) AS island
    FROM
    (
        SELECT
            instrument_id, venue, symbol, interval, window_start, window_end, step_ms,
            window_start > max(window_end) OVER (
                PARTITION BY instrument_id, interval ORDER BY window_start, window_end
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS opens
        FROM analytics.ingest_batches
        WHERE dataset = {dataset:String} AND status IN ('complete', 'given')
            AND instrument_id IN {instruments:Array(UInt32)} AND window_end > window_start
    )
)
GROUP BY instrument_id, interval, island
COMMENT 'Windows that complete batches answer or files have given, merged into maximal ones. Internal.';
