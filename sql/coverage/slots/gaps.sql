-- Gaps of what has few rows (settlements as observed, or a row a day) in [start, end), with the verdict on each, the most
-- certain first. They have few rows, so all of a series is looked at and no gap is cut at the edge of the range. Slots are missing settlements
-- of the observed grid, or missing days; those next to each other with the same cause are one gap. Before and after all
-- settlements, and where none was seen, the nearest interval counts on, or eight hours: the longest of the venues we speak.
INSERT INTO analytics.gaps
(
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts, next_attempt_at, is_open, version
)
WITH
    spans AS
    (
        SELECT instrument_id, venue, symbol, interval, listed_at, delisted_at,
            toUnixTimestamp64Milli(asked_from) AS from_ms, toUnixTimestamp64Milli(expected_until) AS until_ms
        FROM analytics.asked_spans(
            dataset = {dataset:String}, instruments = {peers:Array(UInt32)}, now = {now:DateTime64(3, 'UTC')},
            grace_s = {grace_s:UInt32}, never_asked_s = {never_asked_s:UInt32})
    ),
    holes AS
    (
        SELECT
            s.instrument_id AS instrument_id, s.venue AS venue, s.symbol AS symbol, s.interval AS interval,
            s.listed_at AS listed_at, s.delisted_at AS delisted_at, h.previous IS NULL AS is_first, h.following IS NULL AS is_last,
            ifNull(toUnixTimestamp64Milli(h.previous), 0) AS previous_ms, ifNull(toUnixTimestamp64Milli(h.following), 0) AS following_ms,
            1000 * ifNull(h.usual_s, 28800) AS step_ms,
            multiIf(
                is_first AND is_last, if(s.until_ms - s.from_ms > 28800000, range(s.from_ms, s.until_ms, step_ms), []),
                is_first, arrayMap(n -> following_ms - (n + 1) * step_ms, range(toUInt64(greatest(0, intDiv(following_ms - s.from_ms, step_ms))))),
                is_last, if(s.until_ms - previous_ms > greatest(step_ms, 28800000), range(previous_ms + step_ms, s.until_ms, step_ms), []),
                range(previous_ms + step_ms,
                    previous_ms + step_ms + step_ms * greatest(1, toInt64(round((following_ms - previous_ms) / step_ms)) - 1), step_ms)
            ) AS slots
        FROM spans AS s
        LEFT JOIN analytics.settlement_holes(instruments = {peers:Array(UInt32)}) AS h ON s.instrument_id = h.instrument_id
        WHERE {is_observed:Bool}
        UNION ALL
        SELECT
            s.instrument_id, s.venue, s.symbol, s.interval, s.listed_at, s.delisted_at, part.1 AS is_first, part.2 AS is_last,
            d.last_ms AS previous_ms, d.first_ms AS following_ms, toInt64(86400000) AS step_ms,
            arrayFilter(slot -> (d.first_ms = 0 OR slot < d.first_ms) = part.1 AND (d.first_ms = 0 OR slot > d.last_ms) = part.2 AND NOT has(d.days, slot),
                range(intDiv(s.from_ms + step_ms - 1, step_ms) * step_ms, s.until_ms - step_ms + 1, step_ms)) AS slots
        FROM spans AS s
        LEFT JOIN
        (
            SELECT instrument_id, groupArray(intDiv(toUnixTimestamp64Milli(timestamp), 86400000) * 86400000) AS days,
                arrayMin(days) AS first_ms, arrayMax(days) AS last_ms
            FROM {database:Identifier}.{current:Identifier} FINAL
            WHERE instrument_id IN {peers:Array(UInt32)}
            GROUP BY instrument_id
        ) AS d ON s.instrument_id = d.instrument_id
        ARRAY JOIN [(true, true), (true, false), (false, true), (false, false)] AS part
        WHERE NOT {is_observed:Bool}
    ),
    windows AS
    (
        SELECT instrument_id, groupArray((toUnixTimestamp64Milli(answered_from), toUnixTimestamp64Milli(answered_until))) AS windows
        FROM analytics.answered_windows(
            dataset = {dataset:String}, instruments = {peers:Array(UInt32)},
            start = toDateTime64('2009-01-03 00:00:00', 3, 'UTC'), end = toDateTime64('2100-01-01 00:00:00', 3, 'UTC'))
        GROUP BY instrument_id
    ),
    -- Found when the venue was asked: how many of them there were nobody can know, and they need no second verdict.
    forgotten AS
    (
        SELECT instrument_id, groupArray((toUnixTimestamp64Milli(gap_start), toUnixTimestamp64Milli(gap_end))) AS spans
        FROM analytics.gaps FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {peers:Array(UInt32)} AND is_open AND verdict = 'retention_lost' AND missing = 0
        GROUP BY instrument_id
    ),
    refused AS
    (
        SELECT instrument_id, intDiv(toUnixTimestamp64Milli(timestamp), 60000) * 60000 AS slot_ms, any(rule) AS rule
        FROM analytics.rejected_rows
        WHERE dataset = {dataset:String} AND instrument_id IN {peers:Array(UInt32)}
        GROUP BY instrument_id, slot_ms
    ),
    slots AS
    (
        SELECT
            h.instrument_id AS instrument_id, h.venue AS venue, h.symbol AS symbol, h.interval AS interval, h.listed_at AS listed_at,
            h.delisted_at AS delisted_at, h.is_first AS is_first, h.is_last AS is_last, h.step_ms AS step_ms, h.following_ms AS following_ms,
            h.slot_ms AS slot_ms, arrayExists(a -> a.1 <= h.slot_ms AND a.2 > h.slot_ms, w.windows) AS answered, r.rule AS rule,
            multiIf(
                h.slot_ms < transform(h.instrument_id, {instruments:Array(UInt32)}, {wanted_from_ms:Array(Int64)}, toInt64(0)), 'not_kept_yet',
                h.is_first AND h.slot_ms <= toUnixTimestamp64Milli(h.listed_at), 'not_listed',
                h.slot_ms >= transform(h.instrument_id, {instruments:Array(UInt32)}, {wanted_until_ms:Array(Int64)}, toInt64(4102444800000)), 'not_kept',
                h.is_last AND h.slot_ms >= toUnixTimestamp64Milli(h.delisted_at), 'delisted', '') AS bound
        FROM
        (
            -- What settled before its listing was listed before, and what settled after its end had not ended.
            SELECT * EXCEPT (slots, listed_at, delisted_at), arrayJoin(slots) AS slot_ms,
                if(following_ms > 0 AND toUnixTimestamp64Milli(holes.listed_at) > following_ms, NULL, holes.listed_at) AS listed_at,
                if(toUnixTimestamp64Milli(holes.delisted_at) < previous_ms, NULL, holes.delisted_at) AS delisted_at
            FROM holes
        ) AS h
        LEFT JOIN windows AS w ON h.instrument_id = w.instrument_id
        LEFT JOIN forgotten AS f ON h.instrument_id = f.instrument_id
        LEFT JOIN refused AS r ON h.instrument_id = r.instrument_id AND h.slot_ms = r.slot_ms
        WHERE NOT arrayExists(s -> s.1 <= h.slot_ms AND s.2 > h.slot_ms, f.spans)
    ),
    pieces AS
    (
        SELECT
            c.instrument_id AS instrument_id, any(c.venue) AS venue, any(c.symbol) AS symbol, c.interval AS interval,
            fromUnixTimestamp64Milli(min(c.slot_ms), 'UTC') AS gap_start,
            fromUnixTimestamp64Milli(max(c.slot_ms) + any(c.step_ms), 'UTC') AS gap_end,
            toUInt32(count()) AS missing, any(c.step_ms) AS step_ms, any(c.answered) AS answered, any(c.rule) AS rule, any(c.bound) AS bound,
            any(c.is_first) AS is_first, any(c.is_last) AS is_last, any(c.listed_at) AS listed_at, any(c.delisted_at) AS delisted_at,
            any(c.following_ms) AS following_ms, any(c.symbols) AS symbols, length(symbols) AS silent
        FROM
        (
            SELECT *, sum(begins) OVER (PARTITION BY instrument_id, interval ORDER BY slot_ms ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS piece
            FROM
            (
                SELECT *,
                    (slot_ms - step_ms, cause) != lagInFrame((slot_ms, cause)) OVER (
                        PARTITION BY instrument_id, interval ORDER BY slot_ms ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS begins
                FROM
                (
                    SELECT *, (answered, bound, rule, is_first, is_last, symbols) AS cause
                    FROM
                    (
                        -- Together: every instrument that should have settled did not, in between settlements of its own.
                        SELECT *, if(is_between AND length(absent) >= 2 AND settled = 0, absent, []) AS symbols
                        FROM
                        (
                            SELECT *, answered AND bound = '' AND rule = '' AND NOT is_first AND NOT is_last AS is_between,
                                arraySort(groupArrayIf(symbol, is_between) OVER (PARTITION BY venue, slot_ms)) AS absent,
                                (venue, slot_ms) IN
                                (
                                    SELECT venue, toUnixTimestamp64Milli(timestamp) FROM {database:Identifier}.{current:Identifier}
                                    WHERE instrument_id IN {peers:Array(UInt32)}
                                        AND ({slot_series:String} = '' OR toString({series:Identifier}) = {slot_series:String})
                                ) AS settled
                            FROM slots
                        )
                    )
                    WHERE instrument_id IN {instruments:Array(UInt32)}
                )
            )
        ) AS c
        GROUP BY instrument_id, interval, c.piece
        HAVING gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
    ),
    failed AS
    (
        SELECT instrument_id,
            arraySort(groupArray((recorded_at, toUnixTimestamp64Milli(window_start), toUnixTimestamp64Milli(window_end), error))) AS batches
        FROM analytics.ingest_batches
        WHERE dataset = {dataset:String} AND status = 'failed' AND instrument_id IN {instruments:Array(UInt32)}
        GROUP BY instrument_id
    ),
    known AS
    (
        SELECT instrument_id, arrayReverseSort(g -> g.1, groupArray((
            toUnixTimestamp64Milli(gap_start), toUnixTimestamp64Milli(gap_end), first_seen, attempts, next_attempt_at, version,
            if(verdict = 'suspicious', splitByString('; suspicious: ', evidence)[2], '')))) AS gaps
        FROM analytics.gaps FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open AND missing > 0
        GROUP BY instrument_id
    ),
    facts AS
    (
        SELECT
            *, toUnixTimestamp64Milli(gap_start) AS start_ms, toUnixTimestamp64Milli(gap_end) AS end_ms, end_ms - start_ms AS length_ms,
            if(answered, [], arrayFilter(b -> b.2 < end_ms AND b.3 > start_ms, batches)) AS failures_here,
            length(failures_here) AS failures, failures_here[-1].4 AS error,
            arrayFirst(g -> g.1 <= start_ms AND g.2 > start_ms, gaps) AS before, before.3 AS first_seen, before.4 AS attempts,
            before.5 AS next_attempt_at, before.6 AS version, version > 0 AS is_known,
            if(before.1 = start_ms AND before.2 = end_ms, before.7, '') AS doubt,
            interval = '1d' AS is_index, if(is_index, 'day', 'settlement') AS noun,
            transform(instrument_id, {instruments:Array(UInt32)}, {retention_s:Array(Int64)}, toInt64(0)) AS retention_s,
            multiIf(
                bound IN ('not_kept_yet', 'not_listed'), 'not_listed',
                bound != '', 'delisted',
                NOT answered AND retention_s > 0 AND gap_end < {now:DateTime64(3, 'UTC')} - toIntervalSecond(retention_s), 'retention_lost',
                NOT answered, 'we_missed',
                rule != '', 'rejected',
                is_first AND is_last, 'unknown',
                is_first, if(listed_at IS NULL AND (missing >= {listing_silence_bars:UInt32} OR attempts >= {unknown_attempts:UInt32}), 'not_listed', 'unknown'),
                silent >= 2, 'venue_outage',
                -- The index is all that its source has: where it has days before and after and none here, all of it was silent.
                is_index AND NOT is_last, 'venue_outage',
                'unknown') AS verdict,
            -- Until the pattern is looked at again (suspicious.sql) it stands.
            doubt != '' AND verdict = 'venue_outage' AS is_suspicious,
            multiIf(is_suspicious, {suspicious_attempts:UInt32}, verdict = 'unknown', {unknown_attempts:UInt32}, verdict = 'we_missed', {missed_attempts:UInt32}, verdict = 'rejected', {rejected_attempts:UInt32},
                verdict = 'venue_outage' AND is_index, {alone_attempts:UInt32}, 0) AS attempts_max
        FROM pieces
        LEFT JOIN failed USING (instrument_id)
        LEFT JOIN known USING (instrument_id)
    )
SELECT
    {dataset:String}, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, if(is_suspicious, 'suspicious', verdict),
    concat(
        multiIf(
            bound = 'not_kept_yet', 'the universe keeps it only later',
            bound = 'not_kept', 'the universe keeps it only until then',
            bound = 'not_listed', concat('the venue says that it was listed at ', formatDateTime(assumeNotNull(listed_at), '%F %R'), ' UTC'),
            bound = 'delisted', concat('the venue says that it ended at ', formatDateTime(assumeNotNull(delisted_at), '%F %R'), ' UTC'),
            verdict = 'retention_lost', concat('the venue serves no more than the last ', toString(intDiv(retention_s, 86400)), ' days of it'),
            verdict = 'we_missed' AND failures > 0, concat('asked ', toString(failures), ' times without a usable answer, the last time: ', substringUTF8(error, 1, 200)),
            verdict = 'we_missed' AND length_ms > 1000 * toInt64({never_asked_s:UInt32}), 'never asked for, and too long for a repair: a backfill brings it',
            verdict = 'we_missed', 'never asked for',
            rule != '', concat('the venue sent ', toString(missing), ' rows here that break ', rule, ': they are in rejected_rows'),
            is_first AND is_last, concat('the venue answered and has never had a ', noun, ' of it'),
            is_first, concat('the first ', noun, ' of all is that of ', formatDateTime(fromUnixTimestamp64Milli(following_ms, 'UTC'), '%F %R'),
                ' UTC, the venue answered and had nothing before it back to ', formatDateTime(gap_start, '%F %R'),
                if(verdict = 'unknown', ', too short a silence to say that it was not listed yet', '')),
            verdict = 'venue_outage' AND is_index, concat('the source answered and has the days before and after, but not ', if(missing = 1, 'this one', concat('these ', toString(missing))),
                '; it has no other series to compare with'),
            verdict = 'venue_outage', concat(if(silent <= 4, arrayStringConcat(symbols, ', '), concat(toString(silent), ' instruments')),
                ' were asked, and none of those due settled'),
            is_last, concat('the venue has had no ', noun, ' since the last one'),
            concat('the venue answered and has no settlement here, by a grid of ', toString(round(step_ms / 3600000, 2)),
                ' hours as observed before and after')),
        if(attempts_max > 0 AND attempts > 0, concat('; healing asked again ', toString(attempts), ' times',
            multiIf(attempts < attempts_max, '', verdict = 'we_missed', ' in vain: no more will be asked', ', the venue has nothing: no more will be asked')), ''),
        if(is_suspicious, concat('; suspicious: ', doubt), '')
    ) AS evidence,
    toJSONString(map('missing', toFloat64(missing), 'grid_hours', step_ms / 3600000, 'all_silent', toFloat64(silent),
        'failures', toFloat64(failures), 'rejected', if(rule = '', 0, toFloat64(missing)), 'answered', toFloat64(answered))) AS figures,
    0, if(is_known, first_seen, {now:DateTime64(3, 'UTC')}), {now:DateTime64(3, 'UTC')}, attempts,
    if(
        attempts >= attempts_max OR (NOT answered AND failures = 0 AND length_ms > 1000 * toInt64({never_asked_s:UInt32})),
        NULL,
        -- What nobody asked for yet is left to the live tail and to the close of the day for as long as it may be late.
        ifNull(next_attempt_at, {now:DateTime64(3, 'UTC')} + toIntervalSecond(if(answered OR failures > 0, 0, {grace_s:UInt32})))),
    true,
    greatest(toUInt64(toUnixTimestamp64Milli({now:DateTime64(3, 'UTC')})), version + 1)
FROM facts
