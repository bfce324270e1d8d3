-- Days that the source was asked for and that v_fear_greed does not have, as ranges.
SELECT min(expected_day) AS first, max(expected_day) AS last, count() AS rows
FROM
(
    SELECT expected_day, toInt64(toUnixTimestamp(expected_day)) - 86400 * row_number() OVER (ORDER BY expected_day) AS island
    FROM
    (
        SELECT toStartOfDay(toDateTime(answered_from, 'UTC')) + INTERVAL arrayJoin(range(
            toUInt64(dateDiff('day', answered_from, answered_until)))) DAY AS expected_day
        FROM analytics.answered_windows(
            dataset = 'fear_greed_index', instruments = {instruments:Array(UInt32)},
            start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
    )
    WHERE toDate(expected_day) NOT IN
    (
        SELECT day
        FROM analytics.v_fear_greed
        WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
)
GROUP BY island
ORDER BY first
