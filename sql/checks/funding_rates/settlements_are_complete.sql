-- Holes in the grid of settlements, which is observed: a gap longer than the usual one of the three before it and longer
-- than that of the three after it, so that a change of interval is no hole. A gap counts where the venue was asked for all
-- of it; the last one as long as no settlement follows only from eight hours on, the longest interval of the venues we speak.
-- The first settlement after a hole is in the range that is checked.
SELECT venue, symbol, rate_type, previous AS first, timestamp AS last, missing AS rows, gap_s / 3600 AS gap_hours, usual_s / 3600 AS usual_hours
FROM
(
    SELECT
        instrument_id, venue, symbol, rate_type, previous, timestamp, gap_s,
        greatest(before_s, after_s) AS usual_s,
        greatest(1, toInt64(round(gap_s / usual_s)) - 1) AS missing
    FROM
    (
        SELECT
            instrument_id, venue, symbol, rate_type, previous, timestamp, gap_s,
            quantileExactLow(0.5)(gap_s) OVER (
                PARTITION BY instrument_id, rate_type ORDER BY timestamp ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING) AS before_s,
            quantileExactLow(0.5)(gap_s) OVER (
                PARTITION BY instrument_id, rate_type ORDER BY timestamp ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING) AS after_s
        FROM
        (
            SELECT
                instrument_id, venue, symbol, rate_type, timestamp,
                lagInFrame(timestamp) OVER (
                    PARTITION BY instrument_id, rate_type ORDER BY timestamp
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS previous,
                dateDiff('second', previous, timestamp) AS gap_s,
                row_number() OVER (PARTITION BY instrument_id, rate_type ORDER BY timestamp) AS place
            FROM analytics.funding_rates FINAL
            WHERE instrument_id IN {instruments:Array(UInt32)} AND rate_type = 'regular'
        )
        WHERE place > 1
    )
    WHERE before_s > 0 AND after_s > 0 AND gap_s > before_s AND gap_s > after_s
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
) AS hole
INNER JOIN
(
    SELECT instrument_id, answered_from, answered_until
    FROM analytics.answered_windows(
        dataset = 'funding_rates', instruments = {instruments:Array(UInt32)},
        start = toDateTime64('2009-01-03 00:00:00', 3, 'UTC'), end = toDateTime64('2100-01-01 00:00:00', 3, 'UTC'))
) AS answered ON hole.instrument_id = answered.instrument_id
WHERE answered.answered_from <= previous AND answered.answered_until > timestamp
UNION ALL
SELECT
    venue, symbol, 'regular' AS rate_type, last_settled AS first, least(answered_until, {end:DateTime64(3, 'UTC')}) AS last,
    greatest(1, toInt64(ceil(dateDiff('second', last_settled, last) / usual_s)) - 1) AS rows,
    dateDiff('second', last_settled, last) / 3600 AS gap_hours, usual_s / 3600 AS usual_hours
FROM
(
    SELECT
        instrument_id, any(venue) AS venue, any(symbol) AS symbol, max(timestamp) AS last_settled,
        arraySort(arrayDifference(arraySlice(arraySort(groupArray(toUnixTimestamp64Milli(timestamp))), -4)))[-2] / 1000 AS usual_s
    FROM analytics.funding_rates FINAL
    WHERE instrument_id IN {instruments:Array(UInt32)} AND rate_type = 'regular'
    GROUP BY instrument_id
    HAVING count() >= 4
) AS ends
INNER JOIN
(
    SELECT instrument_id, answered_from, answered_until
    FROM analytics.answered_windows(
        dataset = 'funding_rates', instruments = {instruments:Array(UInt32)},
        start = toDateTime64('2009-01-03 00:00:00', 3, 'UTC'), end = toDateTime64('2100-01-01 00:00:00', 3, 'UTC'))
) AS answered ON ends.instrument_id = answered.instrument_id
WHERE answered_from <= last_settled AND answered_until > last_settled
    AND last_settled < {end:DateTime64(3, 'UTC')} AND last > {start:DateTime64(3, 'UTC')}
    AND gap_hours * 3600 > greatest(usual_s, 28800)
ORDER BY venue, symbol, first
