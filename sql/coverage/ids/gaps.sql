-- Gaps of events with ids in [start, end), with the verdict on each: ids that nobody told between two that are known, which are
-- counted, and time that the venue was asked for and did not answer, or that nobody serves any more, of which nobody knows how
-- many it holds (missing 0). Holes that begin in one millisecond are one gap.
INSERT INTO analytics.gaps
(
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts, next_attempt_at, is_open, version
)
WITH
    windows AS
    (
        SELECT instrument_id AS its_id, groupArray((toUnixTimestamp64Milli(answered_from), toUnixTimestamp64Milli(answered_until))) AS answers
        FROM analytics.answered_windows(
            dataset = {dataset:String}, instruments = {instruments:Array(UInt32)},
            start = {start:DateTime64(3, 'UTC')} - INTERVAL 1 DAY, end = {end:DateTime64(3, 'UTC')} + INTERVAL 1 DAY)
        GROUP BY its_id
    ),
    -- Named often below, and costly: a scalar is worked out once.
    (
        SELECT groupArray((instrument_id, venue, symbol, gap_start, gap_end, missing, first_id, last_id, kind))
        FROM
        (
            SELECT
                instrument_id, any(venue) AS venue, any(symbol) AS symbol,
                toDateTime64(previous, 3, 'UTC') AS gap_start,
                toDateTime64(max(following), 3, 'UTC') + INTERVAL 1 MILLISECOND AS gap_end,
                sum(last_missing - first_missing + 1) AS missing, min(first_missing) AS first_id, max(last_missing) AS last_id,
                any(trade_kind) AS kind
            FROM analytics.trade_holes(
                instruments = {instruments:Array(UInt32)}, start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
            GROUP BY instrument_id, gap_start
        )
    ) AS found,
    holes AS
    (
        SELECT
            h.1 AS instrument_id, h.2 AS venue, h.3 AS symbol, h.4 AS gap_start, h.5 AS gap_end, h.6 AS missing,
            h.7 AS first_id, h.8 AS last_id, h.9 AS kind
        FROM (SELECT arrayJoin(found) AS h)
    ),
    let_go AS
    (
        SELECT instrument_id AS its_id, groupArray((toUnixTimestamp64Milli(window_start), toUnixTimestamp64Milli(window_end))) AS spans
        FROM analytics.ingest_batches
        WHERE dataset = {dataset:String} AND status = 'unserved' AND instrument_id IN {instruments:Array(UInt32)}
            AND window_start < {end:DateTime64(3, 'UTC')} AND window_end > {start:DateTime64(3, 'UTC')}
        GROUP BY its_id
    ),
    -- Windows that failed, or that nobody serves any more, and that nothing answers since, in as few pieces as possible, outside of
    -- what the holes cover.
    failed AS
    (
        SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, min(from_ms) AS from_ms, max(until_ms) AS until_ms,
            countIf(NOT lost) AS failures, argMax(error, recorded_at) AS error, lost
        FROM
        (
            SELECT *, sum(opens) OVER (PARTITION BY instrument_id, lost ORDER BY from_ms, until_ms ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS piece
            FROM
            (
                SELECT *, from_ms > max(until_ms) OVER (PARTITION BY instrument_id, lost ORDER BY from_ms, until_ms ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS opens
                FROM
                (
                    SELECT instrument_id, venue, symbol, error, recorded_at, status = 'unserved' AS lost,
                        toUnixTimestamp64Milli(window_start) AS from_ms, toUnixTimestamp64Milli(window_end) AS until_ms
                    FROM analytics.ingest_batches
                    WHERE dataset = {dataset:String} AND status IN ('failed', 'unserved') AND instrument_id IN {instruments:Array(UInt32)}
                        AND window_start < {end:DateTime64(3, 'UTC')} AND window_end > {start:DateTime64(3, 'UTC')}
                ) AS f
                LEFT JOIN windows AS w ON f.instrument_id = w.its_id
                LEFT JOIN let_go AS l ON f.instrument_id = l.its_id
                WHERE NOT arrayExists(a -> a.1 <= f.from_ms AND a.2 >= f.until_ms, w.answers)
                    AND (lost OR NOT arrayExists(a -> a.1 <= f.from_ms AND a.2 >= f.until_ms, l.spans))
            )
        )
        GROUP BY instrument_id, lost, piece
    ),
    pieces AS
    (
        SELECT
            h.instrument_id AS instrument_id, h.venue AS venue, h.symbol AS symbol, h.gap_start AS gap_start, h.gap_end AS gap_end,
            toUInt32(least(h.missing, 4294967295)) AS missing, h.first_id AS first_id, h.last_id AS last_id, h.kind AS kind,
            arrayExists(a -> a.1 <= toUnixTimestamp64Milli(h.gap_start) AND a.2 >= toUnixTimestamp64Milli(h.gap_end) - 1, w.answers) AS answered,
            f.failures AS failures, f.error AS error, false AS lost
        FROM holes AS h
        LEFT JOIN windows AS w ON h.instrument_id = w.its_id
        LEFT JOIN (SELECT instrument_id, sum(failures) AS failures, any(error) AS error FROM failed WHERE NOT lost GROUP BY instrument_id) AS f ON h.instrument_id = f.instrument_id
        UNION ALL
        SELECT
            f.instrument_id, f.venue, f.symbol, fromUnixTimestamp64Milli(f.from_ms, 'UTC'), fromUnixTimestamp64Milli(f.until_ms, 'UTC'),
            toUInt32(0), 0, 0, '', false, f.failures, f.error, f.lost
        FROM failed AS f
        LEFT JOIN
        (
            SELECT instrument_id AS its_id, groupArray((toUnixTimestamp64Milli(gap_start), toUnixTimestamp64Milli(gap_end))) AS covered
            FROM holes GROUP BY its_id
        ) AS c ON f.instrument_id = c.its_id
        WHERE NOT arrayExists(s -> s.1 <= f.from_ms AND s.2 >= f.until_ms, c.covered)
    ),
    known AS
    (
        SELECT p.instrument_id AS instrument_id, p.gap_start AS gap_start,
            g.first_seen AS first_seen, g.attempts AS attempts, g.next_attempt_at AS next_attempt_at, g.version AS version
        FROM pieces AS p
        ASOF INNER JOIN
        (
            SELECT instrument_id, gap_start, gap_end, first_seen, attempts, next_attempt_at, version
            FROM analytics.gaps FINAL
            WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open
        ) AS g ON p.instrument_id = g.instrument_id AND p.gap_start >= g.gap_start
        WHERE g.gap_end > p.gap_start
    ),
    facts AS
    (
        SELECT
            p.*, k.version AS known_version, k.first_seen AS known_since, k.attempts AS attempts, k.next_attempt_at AS due,
            transform(p.instrument_id, {instruments:Array(UInt32)}, {retention_s:Array(Int64)}, toInt64(0)) AS retention_s,
            multiIf(
                lost, 'retention_lost',
                NOT answered AND retention_s > 0 AND gap_end < {now:DateTime64(3, 'UTC')} - toIntervalSecond(retention_s), 'retention_lost',
                NOT answered, 'we_missed',
                'unknown') AS verdict,
            multiIf(verdict = 'unknown', {unknown_attempts:UInt32}, verdict = 'we_missed', {missed_attempts:UInt32}, 0) AS attempts_max
        FROM pieces AS p
        LEFT JOIN known AS k ON p.instrument_id = k.instrument_id AND p.gap_start = k.gap_start
    )
SELECT
    {dataset:String}, instrument_id, venue, symbol, '', gap_start, gap_end, missing, verdict,
    concat(
        if(missing > 0, concat(kind, ' ids ', toString(first_id), ' to ', toString(last_id), ', ', toString(missing), ' of them: '), ''),
        multiIf(
            lost, 'no source of the venue served it any more when it was wanted',
            verdict = 'retention_lost', concat('the venue serves no more than the last ', toString(intDiv(retention_s, 3600)), ' hours of it'),
            verdict = 'unknown', 'the venue answered, and has told what comes before and after',
            failures > 0, concat('asked ', toString(failures), ' times without a usable answer, the last time: ', substringUTF8(error, 1, 200)),
            'never asked for'),
        if(attempts > 0, concat('; healing asked again ', toString(attempts), ' times'), '')) AS evidence,
    toJSONString(map('missing', toFloat64(missing), 'answered', toFloat64(answered), 'failures', toFloat64(failures))) AS figures,
    0, if(known_version > 0, known_since, {now:DateTime64(3, 'UTC')}), {now:DateTime64(3, 'UTC')}, attempts,
    if(
        attempts >= attempts_max OR (NOT answered AND failures = 0 AND dateDiff('second', gap_start, gap_end) > {never_asked_s:UInt32}),
        NULL,
        -- What nobody asked for yet is left to the close of the day for as long as it may be late.
        ifNull(due, {now:DateTime64(3, 'UTC')} + toIntervalSecond(if(answered OR failures > 0, 0, {grace_s:UInt32})))) AS next_attempt_at,
    true,
    greatest(toUInt64(toUnixTimestamp64Milli({now:DateTime64(3, 'UTC')})), known_version + 1)
FROM facts
