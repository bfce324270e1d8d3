-- From where to where each series should have bars, for finding what is missing.
-- Parameters: dataset, instruments, now, grace_s (younger is late, not missing), never_asked_s (a series left alone for longer
-- is not kept up to date by anybody, and nothing is expected of it after the last it was asked for). What was wanted and nobody
-- serves any more is expected like what was asked for, and what a file of somebody's own has from its first to its last row.

CREATE OR REPLACE VIEW analytics.asked_spans
AS SELECT
    instrument_id, venue, symbol, interval,
    step_ms,
    asked_from,
    greatest(given_until, if(horizon > known_until + toIntervalSecond({never_asked_s:UInt32}), known_until, greatest(known_until, horizon))) AS expected_until,
    listed_at, delisted_at
FROM
(
    SELECT
        s.instrument_id AS instrument_id, s.venue AS venue, s.symbol AS symbol, s.interval AS interval, s.step_ms AS step_ms,
        s.asked_from AS asked_from, s.given_until AS given_until,
        l.listed_at AS listed_at, l.delisted_at AS delisted_at,
        if(v.venue != '',
            addMilliseconds({now:DateTime64(3, 'UTC')}, v.clock_skew_ms) - toIntervalSecond({grace_s:UInt32}),
            greatest(s.venue_answered_until, least(s.venue_failed_until, {now:DateTime64(3, 'UTC')} - toIntervalSecond({grace_s:UInt32})))
        ) AS horizon,
        greatest(s.answered_until, s.unserved_until, least(s.failed_until, horizon)) AS known_until
    FROM
    (
        SELECT
            *, max(answered_until) OVER (PARTITION BY venue) AS venue_answered_until,
            max(failed_until) OVER (PARTITION BY venue) AS venue_failed_until
        FROM
        (
            SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, interval, any(step_ms) AS step_ms,
                min(window_start) AS asked_from,
                maxIf(window_end, status = 'complete') AS answered_until, maxIf(window_end, status = 'failed') AS failed_until,
                maxIf(window_end, status = 'unserved') AS unserved_until, maxIf(window_end, status = 'given') AS given_until
            FROM analytics.ingest_batches
            WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
            GROUP BY instrument_id, interval
        )
    ) AS s
    LEFT JOIN (SELECT venue, clock_skew_ms FROM analytics.venues FINAL) AS v ON s.venue = v.venue
    LEFT JOIN (SELECT instrument_id, listed_at, delisted_at FROM analytics.v_instruments) AS l ON s.instrument_id = l.instrument_id
)
COMMENT 'Per series: since when it was asked for, until when it should be there, and the listing dates by the venue. Internal.';
