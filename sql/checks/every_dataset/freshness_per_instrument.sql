-- Series that should be up to date and are not, by their own interval. Expected is only what was asked for its present within
-- never_asked_s, and not only just now: a backfill of history promises nothing. What the venue does not trade (delisted, halted) is not late. A bar may be
-- late by late_s; where the venue answers and has no bar, by silent_s, because some leave out minutes without trades.
SELECT
    venue, symbol, interval, addMilliseconds(opened, step) AS first, venue_now AS last, toUInt64(intDiv(late_ms, step) + 1) AS rows,
    if(is_answered, 'the venue answers and has no bar', 'not asked, or no answer') AS what
FROM
(
    SELECT
        a.venue AS venue, a.symbol AS symbol, a.interval AS interval, a.step AS step, a.venue_now AS venue_now,
        if(b.opened = 0, addMilliseconds(a.asked_from, -a.step), b.opened) AS opened,
        dateDiff('millisecond', opened, a.venue_now) - 2 * a.step AS late_ms,
        dateDiff('millisecond', a.answered_until, a.venue_now) <= a.step + {late_s:UInt32} * 1000 AS is_answered
    FROM
    (
        SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, interval, any(step) AS step, any(venue_now) AS venue_now,
            min(window_start) AS asked_from, maxIf(window_end, status = 'complete') AS answered_until
        FROM
        (
            SELECT
                i.*, addMilliseconds({now:DateTime64(3, 'UTC')}, v.clock_skew_ms) AS venue_now,
                -- The shortest interval decides for all: a day's bar closes so seldom that a backfill may end at its last one.
                step = shortest AND dateDiff('millisecond', window_end, addMilliseconds(recorded_at, v.clock_skew_ms))
                    <= step + {present_s:UInt32} * 1000 AS is_of_its_present,
                max(is_of_its_present) OVER (PARTITION BY instrument_id) AS is_kept,
                minIf(recorded_at, is_of_its_present) OVER (PARTITION BY instrument_id) AS kept_since
            FROM
            (
                SELECT
                    instrument_id, venue, symbol, interval, window_start, window_end, status, recorded_at,
                    step_ms AS step,
                    min(step) OVER (PARTITION BY instrument_id) AS shortest
                FROM analytics.ingest_batches
                WHERE dataset = {dataset:String} AND instrument_id IN {wanted:Array(UInt32)} AND status != 'given'
                    AND recorded_at >= {now:DateTime64(3, 'UTC')} - toIntervalSecond({never_asked_s:UInt32})
            ) AS i
            LEFT JOIN (SELECT venue, clock_skew_ms FROM analytics.venues FINAL) AS v ON i.venue = v.venue
        )
        WHERE is_kept AND kept_since <= {now:DateTime64(3, 'UTC')} - toIntervalSecond({late_s:UInt32})
        GROUP BY instrument_id, interval
    ) AS a
    LEFT JOIN
    (
        SELECT instrument_id, interval, max(timestamp) AS opened
        FROM {database:Identifier}.{table:Identifier}
        WHERE instrument_id IN {wanted:Array(UInt32)}
            AND timestamp >= addMilliseconds({now:DateTime64(3, 'UTC')}, (SELECT least(0, min(clock_skew_ms)) FROM analytics.venues FINAL))
                - toIntervalSecond({never_asked_s:UInt32})
        GROUP BY instrument_id, interval
    ) AS b ON a.instrument_id = b.instrument_id AND a.interval = b.interval
    WHERE a.instrument_id NOT IN
        (SELECT instrument_id FROM analytics.v_instruments WHERE NOT is_active OR delisted_at <= {now:DateTime64(3, 'UTC')})
)
WHERE late_ms > if(is_answered, greatest({silent_s:UInt32}, {late_s:UInt32}), {late_s:UInt32}) * 1000
ORDER BY venue, symbol, step
