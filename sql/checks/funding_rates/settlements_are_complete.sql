-- Holes in the grid of settlements, which is observed (analytics.settlement_holes). One counts where the venue was asked for
-- all of it; the last one as long as no settlement follows only from eight hours on, the longest interval of the venues we
-- speak. The first settlement after a hole is in the range that is checked.
SELECT venue, symbol, 'regular' AS rate_type, first, last,
    greatest(1, toInt64(if(is_open, ceil(gap_s / usual_s), round(gap_s / usual_s))) - 1) AS rows,
    gap_s / 3600 AS gap_hours, usual_s / 3600 AS usual_hours
FROM
(
    SELECT h.venue AS venue, h.symbol AS symbol, assumeNotNull(h.previous) AS first, h.following IS NULL AS is_open,
        ifNull(h.following, least(a.answered_until, {end:DateTime64(3, 'UTC')})) AS last,
        assumeNotNull(h.usual_s) AS usual_s, dateDiff('second', first, last) AS gap_s
    FROM analytics.settlement_holes(instruments = {instruments:Array(UInt32)}) AS h
    INNER JOIN
    (
        SELECT instrument_id, answered_from, answered_until
        FROM analytics.answered_windows(
            dataset = 'funding_rates', instruments = {instruments:Array(UInt32)},
            start = toDateTime64('2009-01-03 00:00:00', 3, 'UTC'), end = toDateTime64('2100-01-01 00:00:00', 3, 'UTC'))
    ) AS a ON h.instrument_id = a.instrument_id
    WHERE h.previous IS NOT NULL AND h.usual_s IS NOT NULL
        AND a.answered_from <= h.previous AND a.answered_until > ifNull(h.following, h.previous)
)
WHERE if(is_open,
    first < {end:DateTime64(3, 'UTC')} AND last > {start:DateTime64(3, 'UTC')} AND gap_s > greatest(usual_s, 28800),
    last >= {start:DateTime64(3, 'UTC')} AND last < {end:DateTime64(3, 'UTC')})
ORDER BY venue, symbol, first
