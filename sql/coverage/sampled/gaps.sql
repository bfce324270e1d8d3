-- Days of [start, end) for which a venue that tells a sample was asked and of which there is no file, those next to each other and
-- alike as one gap. What of a day was not told is no gap: nobody knows it. A file that the venue does not have, before its first one,
-- after its last one or between, is gone for good; one that could not be used or was never asked for may still come.
INSERT INTO analytics.gaps
(
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts, next_attempt_at, is_open, version
)
WITH
    asked AS
    (
        SELECT
            instrument_id, venue, symbol, arrayJoin(range(
                toUInt32(toDate(greatest(asked_from, {start:DateTime64(3, 'UTC')}))),
                toUInt32(toDate(least(expected_until, {end:DateTime64(3, 'UTC')}) - toIntervalMillisecond(1))) + 1)) AS day
        FROM analytics.asked_spans(
            dataset = {dataset:String}, instruments = {instruments:Array(UInt32)}, now = {now:DateTime64(3, 'UTC')},
            grace_s = {grace_s:UInt32}, never_asked_s = {never_asked_s:UInt32})
        WHERE asked_from < {end:DateTime64(3, 'UTC')} AND expected_until > {start:DateTime64(3, 'UTC')}
    ),
    answered AS
    (
        SELECT instrument_id, arrayJoin(range(toUInt32(toDate(answered_from)), toUInt32(toDate(answered_until)))) AS day
        FROM analytics.answered_windows(
            dataset = {dataset:String}, instruments = {instruments:Array(UInt32)},
            start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
    ),
    files AS
    (
        SELECT venue, symbol, toUInt32(toDate(period_start)) AS day, argMax(status, seen_at) AS status
        FROM analytics.archive_files
        WHERE interval = '' AND period_end = period_start + INTERVAL 1 DAY
            AND period_start >= {start:DateTime64(3, 'UTC')} AND period_start < {end:DateTime64(3, 'UTC')}
        GROUP BY venue, symbol, day
    ),
    days AS
    (
        SELECT
            a.instrument_id AS instrument_id, a.venue AS venue, a.symbol AS symbol, a.day AS day, f.status AS status,
            toInt64(day) - row_number() OVER (PARTITION BY instrument_id, status ORDER BY day) AS island
        FROM asked AS a
        LEFT ANTI JOIN answered AS w ON a.instrument_id = w.instrument_id AND a.day = w.day
        LEFT JOIN files AS f ON a.venue = f.venue AND a.symbol = f.symbol AND a.day = f.day
    ),
    known AS
    (
        SELECT instrument_id, gap_start, first_seen, attempts, next_attempt_at, version
        FROM analytics.gaps FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open
    )
SELECT
    {dataset:String}, d.instrument_id, d.venue, d.symbol, '', d.gap_start, d.gap_end, d.missing,
    if(d.status IN ('not_listed', 'hole'), 'retention_lost', 'we_missed') AS verdict,
    multiIf(
        d.status = 'not_listed', concat('the venue has no file of these ', toString(d.missing), ' days, before its first one or after its last one'),
        d.status = 'hole', concat('the venue has no file of these ', toString(d.missing), ' days, though it has of days before and after'),
        d.status = '', 'no file of these days was looked at',
        concat('the files of these ', toString(d.missing), ' days are ', d.status)),
    '{"answered":0}', 0,
    if(k.version > 0, k.first_seen, {now:DateTime64(3, 'UTC')}), {now:DateTime64(3, 'UTC')}, k.attempts,
    if(verdict = 'retention_lost' OR k.attempts >= {missed_attempts:UInt32}, NULL,
        ifNull(k.next_attempt_at, {now:DateTime64(3, 'UTC')} + toIntervalSecond({grace_s:UInt32}))),
    true, greatest(toUInt64(toUnixTimestamp64Milli({now:DateTime64(3, 'UTC')})), k.version + 1)
FROM
(
    SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, toString(any(status)) AS status, count() AS missing,
        toDateTime64(toDate(toUInt16(min(day))), 3, 'UTC') AS gap_start, toDateTime64(toDate(toUInt16(max(day) + 1)), 3, 'UTC') AS gap_end
    FROM days
    GROUP BY instrument_id, days.status, island
) AS d
LEFT JOIN known AS k ON d.instrument_id = k.instrument_id AND d.gap_start = k.gap_start
