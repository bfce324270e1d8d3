-- Ranges of the grid that a venue was asked for and that are not there. A bar off the grid fills the slot it opens in.
SELECT venue, symbol, interval, min(slot) AS first, max(slot) AS last, count() AS rows
FROM
(
    SELECT
        venue, symbol, interval, step_ms, slot,
        toUnixTimestamp64Milli(slot) - step_ms * row_number() OVER (PARTITION BY venue, symbol, interval ORDER BY slot) AS island
    FROM
    (
        SELECT
            instrument_id, venue, symbol, interval, step_ms,
            fromUnixTimestamp64Milli(arrayJoin(range(
                toUnixTimestamp64Milli(answered_from), toUnixTimestamp64Milli(answered_until), step_ms)), 'UTC') AS slot
        FROM analytics.answered_windows(
            dataset = {dataset:String}, instruments = {instruments:Array(UInt32)},
            start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
    ) AS expected
    LEFT ANTI JOIN
    (
        SELECT
            instrument_id, interval,
            fromUnixTimestamp64Milli(intDiv(timestamp_unix, step_ms) * step_ms, 'UTC') AS slot
        FROM {database:Identifier}.{current:Identifier} FINAL
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    ) AS present
    ON expected.instrument_id = present.instrument_id AND expected.interval = present.interval AND expected.slot = present.slot
)
GROUP BY venue, symbol, interval, island
ORDER BY venue, symbol, interval, first
