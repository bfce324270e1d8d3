-- What a venue had answered, or failed to answer, of [start, end) by a moment, in as few windows as possible.
SELECT instrument_id, status,
    toUnixTimestamp64Milli(min(window_start)) AS from_ms, toUnixTimestamp64Milli(max(window_end)) AS until_ms
FROM
(
    SELECT *, sum(opens) OVER (PARTITION BY instrument_id, status ORDER BY window_start, window_end, recorded_at) AS island
    FROM
    (
        SELECT
            instrument_id, status, window_start, window_end, recorded_at,
            window_start > max(window_end) OVER (
                PARTITION BY instrument_id, status ORDER BY window_start, window_end, recorded_at
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS opens
        FROM analytics.ingest_batches
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND interval = {interval:String}
            AND window_start < {end:DateTime64(3, 'UTC')} AND window_end > {start:DateTime64(3, 'UTC')}
            AND window_end > window_start AND recorded_at <= {as_of:DateTime64(3, 'UTC')}
    )
)
GROUP BY instrument_id, status, island
ORDER BY status DESC, instrument_id, from_ms
