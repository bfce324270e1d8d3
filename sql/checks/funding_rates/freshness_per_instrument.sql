-- Perpetuals that should be up to date and whose next settlement is late: by the longest of their last three intervals, or the one the
-- venue lists if that is longer (eight hours where nothing is known), and late_s. Expected is only what was asked for its present
-- within never_asked_s, and not only just now: a backfill of history promises nothing. What the venue does not trade is not late.
SELECT
    venue, symbol, settled AS first, venue_now AS last, toUInt64(intDiv(dateDiff('second', settled, venue_now), usual_s)) AS rows,
    usual_s / 3600 AS usual_hours,
    if(dateDiff('second', answered_until, venue_now) <= {late_s:UInt32}, 'the venue answers and has no rate', 'not asked, or no answer') AS what
FROM
(
    SELECT
        a.venue AS venue, a.symbol AS symbol, a.venue_now AS venue_now, a.answered_until AS answered_until,
        if(f.settled = 0, a.asked_from, f.settled) AS settled,
        if(greatest(f.observed_s, l.listed_s) > 0, greatest(f.observed_s, l.listed_s), 28800) AS usual_s
    FROM
    (
        SELECT
            i.instrument_id AS instrument_id, any(i.venue) AS venue, any(i.symbol) AS symbol,
            any(addMilliseconds({now:DateTime64(3, 'UTC')}, v.clock_skew_ms)) AS venue_now,
            min(i.window_start) AS asked_from, maxIf(i.window_end, i.status = 'complete') AS answered_until
        FROM analytics.ingest_batches AS i
        LEFT JOIN (SELECT venue, clock_skew_ms FROM analytics.venues FINAL) AS v ON i.venue = v.venue
        WHERE i.dataset = {dataset:String} AND i.instrument_id IN {wanted:Array(UInt32)}
            AND i.recorded_at >= {now:DateTime64(3, 'UTC')} - toIntervalSecond({never_asked_s:UInt32})
        GROUP BY i.instrument_id
        HAVING countIf(
            dateDiff('second', i.window_end, addMilliseconds(i.recorded_at, v.clock_skew_ms)) <= {present_s:UInt32} AS is_of_its_present) > 0
            AND minIf(i.recorded_at, is_of_its_present) <= {now:DateTime64(3, 'UTC')} - toIntervalSecond({late_s:UInt32})
    ) AS a
    LEFT JOIN
    (
        SELECT instrument_id, fromUnixTimestamp64Milli(latest[1], 'UTC') AS settled,
            toInt64(arrayMax(arrayMap((later, earlier) -> later - earlier, arrayPopBack(latest), arrayPopFront(latest))) / 1000) AS observed_s
        FROM
        (
            SELECT instrument_id, arraySlice(arrayReverseSort(groupUniqArray(toUnixTimestamp64Milli(timestamp))), 1, 4) AS latest
            FROM analytics.funding_rates
            WHERE instrument_id IN {wanted:Array(UInt32)} AND rate_type = 'regular'
                AND timestamp >= addMilliseconds({now:DateTime64(3, 'UTC')}, (SELECT least(0, min(clock_skew_ms)) FROM analytics.venues FINAL))
                    - toIntervalSecond({never_asked_s:UInt32})
            GROUP BY instrument_id
        )
    ) AS f ON a.instrument_id = f.instrument_id
    LEFT JOIN
    (
        SELECT instrument_id, toInt64(coalesce(funding_interval_hours, 0) * 3600) AS listed_s
        FROM analytics.v_instruments
    ) AS l ON a.instrument_id = l.instrument_id
    WHERE a.instrument_id NOT IN
        (SELECT instrument_id FROM analytics.v_instruments WHERE NOT is_active OR delisted_at <= {now:DateTime64(3, 'UTC')})
)
WHERE dateDiff('second', settled, venue_now) > usual_s + {late_s:UInt32}
ORDER BY venue, symbol
