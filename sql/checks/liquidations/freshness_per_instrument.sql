-- Instruments whose liquidations are kept up to date and whose venue was not asked, or did not answer, for late_s. That a market rests is
-- no lateness. Expected is only what was asked for its present within never_asked_s; what the venue does not trade is not late.
SELECT
    venue, symbol, answered_until AS first, venue_now AS last, toUInt64(intDiv(dateDiff('second', answered_until, venue_now), 3600)) AS rows,
    'not asked, or no answer' AS what
FROM
(
    SELECT
        i.instrument_id AS instrument_id, any(i.venue) AS venue, any(i.symbol) AS symbol,
        any(addMilliseconds({now:DateTime64(3, 'UTC')}, v.clock_skew_ms)) AS venue_now,
        greatest(maxIf(i.window_end, i.status = 'complete'), min(i.window_start)) AS answered_until
    FROM analytics.ingest_batches AS i
    LEFT JOIN (SELECT venue, clock_skew_ms FROM analytics.venues FINAL) AS v ON i.venue = v.venue
    WHERE i.dataset = {dataset:String} AND i.instrument_id IN {wanted:Array(UInt32)}
        AND i.recorded_at >= {now:DateTime64(3, 'UTC')} - toIntervalSecond({never_asked_s:UInt32})
    GROUP BY i.instrument_id
    HAVING countIf(dateDiff('second', i.window_end, addMilliseconds(i.recorded_at, v.clock_skew_ms)) <= {present_s:UInt32} AS is_of_its_present) > 0
        AND minIf(i.recorded_at, is_of_its_present) <= {now:DateTime64(3, 'UTC')} - toIntervalSecond({late_s:UInt32})
)
WHERE dateDiff('second', answered_until, venue_now) > {late_s:UInt32}
    AND instrument_id NOT IN
        (SELECT instrument_id FROM analytics.v_instruments WHERE NOT is_active OR delisted_at <= {now:DateTime64(3, 'UTC')})
ORDER BY venue, symbol
