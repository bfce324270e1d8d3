-- Days of [start, end) for which a venue that tells a sample was asked: whether it answered. How many rows it left out nobody knows,
-- which is_sampled says; so a day is one slot, and a score is of days, not of what happened in them.
INSERT INTO analytics.coverage
(
    dataset, instrument_id, venue, symbol, interval, day, expected, present, missing, explained, not_due, rejected, off_grid, revised, frozen,
    is_settled, score, completeness, finality, agreement, freshness, computed_at, is_sampled
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
    lost AS
    (
        SELECT instrument_id, arrayJoin(range(toUInt32(toDate(gap_start)), toUInt32(toDate(gap_end)))) AS day, toString(verdict) AS verdict
        FROM analytics.gaps FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open
    ),
    rejected AS
    (
        SELECT instrument_id, toUInt32(toDate(timestamp)) AS day, count() AS rows
        FROM analytics.rejected_rows FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, day
    ),
    known AS
    (
        SELECT * FROM analytics.coverage FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
            AND day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')})
    )
SELECT
    {dataset:String}, c.instrument_id, c.venue, c.symbol, '', c.its_day, 1, c.present, 1 - c.present, c.explained, 0, c.rejected, 0, 0, 0,
    c.present = 1, 100. * c.present, 100. * c.present, 100., 100., 100. * greatest(c.present, c.explained), {now:DateTime64(3, 'UTC')}, true
FROM
(
    SELECT
        a.instrument_id AS instrument_id, a.venue AS venue, a.symbol AS symbol, toDate(toUInt16(a.day)) AS its_day,
        toUInt32(w.day = a.day) AS present, toUInt32(present = 0 AND l.verdict != '' AND l.verdict NOT IN {unexplained:Array(String)}) AS explained,
        r.rows AS rejected
    FROM asked AS a
    LEFT JOIN (SELECT DISTINCT instrument_id, day FROM answered) AS w ON a.instrument_id = w.instrument_id AND a.day = w.day
    LEFT JOIN (SELECT instrument_id, day, any(verdict) AS verdict FROM lost GROUP BY instrument_id, day) AS l
        ON a.instrument_id = l.instrument_id AND a.day = l.day
    LEFT JOIN rejected AS r ON a.instrument_id = r.instrument_id AND a.day = r.day
) AS c
LEFT JOIN known AS k ON c.instrument_id = k.instrument_id AND c.its_day = k.day
-- What is known already is not written again, however often somebody looks.
WHERE k.dataset = '' OR (c.present, c.explained, c.rejected) != (k.present, k.explained, k.rejected)
