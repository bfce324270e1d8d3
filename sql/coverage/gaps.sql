-- The verdict on each candidate, the most certain first, with what it rests on. A rerun on the same data changes neither the
-- verdict nor first_seen. What an earlier judgement knows of the same gap, or of a longer one it is the rest of, is kept.
INSERT INTO analytics.gaps
(
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts, next_attempt_at, is_open, version
)
WITH
    0. AS nothing,  -- the volume of what has none
    pieces AS (SELECT * FROM analytics.gap_candidates WHERE judgement = {judgement:UUID}),
    -- Those a venue was silent in between two bars of the series: only they can be an outage or a lack of trades.
    silences AS
    (
        SELECT *, toUnixTimestamp64Milli(gap_start) AS from_ms, toUnixTimestamp64Milli(gap_end) AS until_ms
        FROM pieces
        WHERE answered AND first_bar < gap_start AND (listed_at IS NULL OR listed_at < gap_end) AND (delisted_at IS NULL OR delisted_at > gap_start)
    ),
    silent_slots AS
    (
        SELECT instrument_id, venue, interval, gap_start, arrayJoin(range(from_ms, until_ms, step_ms)) AS slot_ms FROM silences
    ),
    -- Slots in which any instrument of the venue has a bar.
    alive AS
    (
        SELECT DISTINCT venue, interval,
            intDiv(toUnixTimestamp64Milli(timestamp), step_ms) * step_ms AS slot_ms
        FROM {database:Identifier}.{current:Identifier}
        WHERE instrument_id IN {peers:Array(UInt32)}
            AND timestamp >= (SELECT min(gap_start) FROM silences) AND timestamp < (SELECT max(gap_end) FROM silences)
            AND (venue, interval, slot_ms) IN (SELECT venue, interval, slot_ms FROM silent_slots)
    ),
    dark AS
    (
        SELECT s.instrument_id AS instrument_id, s.interval AS interval, s.gap_start AS gap_start, countIf(a.venue = '') AS dark
        FROM silent_slots AS s
        LEFT JOIN alive AS a ON s.venue = a.venue AND s.interval = a.interval AND s.slot_ms = a.slot_ms
        GROUP BY instrument_id, interval, gap_start
    ),
    -- Who else was asked for all of it and was alive before.
    asked AS
    (
        SELECT s.instrument_id AS instrument_id, s.interval AS interval, s.gap_start AS gap_start,
            arraySort(groupUniqArray(p.symbol)) AS symbols
        FROM silences AS s
        INNER JOIN
        (
            SELECT w.instrument_id AS instrument_id, w.venue AS venue, w.symbol AS symbol, w.interval AS interval,
                w.answered_from AS answered_from, w.answered_until AS answered_until, b.first_bar AS first_bar
            FROM analytics.answered_windows(
                dataset = {dataset:String}, instruments = {peers:Array(UInt32)},
                start = toDateTime64('2009-01-03 00:00:00', 3, 'UTC'), end = toDateTime64('2100-01-01 00:00:00', 3, 'UTC')) AS w
            INNER JOIN
            (
                SELECT instrument_id, interval, min(timestamp) AS first_bar
                FROM {database:Identifier}.{current:Identifier} WHERE instrument_id IN {peers:Array(UInt32)} GROUP BY instrument_id, interval
            ) AS b ON w.instrument_id = b.instrument_id AND w.interval = b.interval
        ) AS p ON s.venue = p.venue AND s.interval = p.interval
        WHERE p.answered_from <= s.gap_start AND p.answered_until >= s.gap_end AND p.first_bar < s.gap_start
        GROUP BY instrument_id, interval, gap_start
    ),
    -- The bars around each silence: one on either side, and before a long one as many as may be frozen.
    beside AS
    (
        SELECT s.instrument_id AS instrument_id, s.interval AS interval, s.gap_start AS gap_start,
            arrayReverseSort(groupArrayIf((n.slot_ms, n.is_frozen), n.slot_ms < s.from_ms)) AS before,
            arrayFirstIndex(b -> NOT b.2, before) AS traded,
            toUInt32(if(traded > 0, traded - 1, length(before))) AS frozen,
            anyLastIf(n.volume, n.slot_ms = s.from_ms - s.step_ms) AS volume_before,
            anyLastIf(n.volume, n.slot_ms = s.until_ms) AS volume_after,
            countIf(n.slot_ms = s.until_ms) > 0 AS has_after
        FROM
        (
            SELECT instrument_id, interval, gap_start, from_ms, until_ms, step_ms,
                arrayJoin(range(from_ms - step_ms * if(until_ms - from_ms >= 1000 * toInt64({outage_alone_s:UInt32}), toInt64({frozen_look_bars:UInt32}), 1), from_ms, step_ms)
                ) AS slot_ms
            FROM silences
            UNION ALL
            SELECT instrument_id, interval, gap_start, from_ms, until_ms, step_ms, until_ms FROM silences
        ) AS s
        INNER JOIN
        (
            SELECT instrument_id, interval,
                intDiv(timestamp_unix, step_ms) * step_ms AS slot_ms,
                volume = 0 AND open = high AND high = low AND low = close AS is_frozen, {volume:Identifier} AS volume
            FROM {database:Identifier}.{current:Identifier} FINAL
            WHERE instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= (SELECT min(gap_start) - toIntervalMillisecond(max(step_ms) * {frozen_look_bars:UInt32}) FROM silences)
                AND timestamp <= (SELECT max(gap_end) + toIntervalMillisecond(max(step_ms)) FROM silences)
                AND toDate(timestamp) IN
                (
                    SELECT arrayJoin(arrayConcat([toDate(gap_end)], arrayMap(d -> toDate(d), range(
                        toUInt32(toDate(gap_start - toIntervalMillisecond(step_ms * {frozen_look_bars:UInt32}))),
                        toUInt32(toDate(gap_start)) + 1))))
                    FROM silences
                )
        ) AS n ON s.instrument_id = n.instrument_id AND s.interval = n.interval AND s.slot_ms = n.slot_ms
        GROUP BY instrument_id, interval, gap_start, s.from_ms, s.until_ms, s.step_ms
    ),
    -- Days in which a series keeps falling silent and never says zero: such a series leaves out the minutes without trades.
    sparse AS
    (
        SELECT s.instrument_id AS instrument_id, s.interval AS interval, s.day AS day, s.silences AS silences, d.volume AS volume
        FROM
        (
            SELECT instrument_id, interval, arrayJoin(arrayDistinct([toDate(gap_start), toDate(gap_end - toIntervalMillisecond(1))])) AS day,
                count() AS silences
            FROM silences
            GROUP BY instrument_id, interval, day
            HAVING silences >= {sparse_silences:UInt32}
        ) AS s
        INNER JOIN
        (
            SELECT instrument_id, interval, toDate(timestamp) AS day, countIf(traded = 0) AS zeros, avg(traded) AS volume
            FROM
            (
                SELECT instrument_id, interval, timestamp, {volume:Identifier} AS traded
                FROM {database:Identifier}.{current:Identifier} FINAL
                WHERE instrument_id IN {instruments:Array(UInt32)}
                    AND timestamp >= (SELECT toStartOfDay(min(gap_start)) FROM silences)
                    AND timestamp < (SELECT toStartOfDay(max(gap_end)) + INTERVAL 1 DAY FROM silences)
                    AND (SELECT max(n) FROM (SELECT count() AS n FROM silences GROUP BY instrument_id, interval)) >= {sparse_silences:UInt32}
            )
            GROUP BY instrument_id, interval, day
        ) AS d ON s.instrument_id = d.instrument_id AND s.interval = d.interval AND s.day = d.day
        WHERE d.zeros = 0
    ),
    failed AS
    (
        SELECT p.instrument_id AS instrument_id, p.interval AS interval, p.gap_start AS gap_start,
            count() AS failures, argMax(b.error, b.recorded_at) AS error
        FROM (SELECT instrument_id, interval, gap_start, gap_end FROM pieces WHERE NOT answered) AS p
        INNER JOIN
        (
            SELECT instrument_id, interval, window_start, window_end, recorded_at, error
            FROM analytics.ingest_batches
            WHERE dataset = {dataset:String} AND status = 'failed' AND instrument_id IN {instruments:Array(UInt32)}
        ) AS b ON p.instrument_id = b.instrument_id AND p.interval = b.interval
        WHERE b.window_start < p.gap_end AND b.window_end > p.gap_start
        GROUP BY instrument_id, interval, gap_start
    ),
    refused AS
    (
        SELECT p.instrument_id AS instrument_id, p.interval AS interval, p.gap_start AS gap_start,
            uniqExact(r.timestamp) AS rejected, arrayStringConcat(arraySort(groupUniqArray(toString(r.rule))), ', ') AS rule
        FROM (SELECT instrument_id, interval, gap_start, gap_end FROM pieces WHERE answered) AS p
        INNER JOIN
        (
            SELECT instrument_id, interval, timestamp, rule
            FROM analytics.rejected_rows
            WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
        ) AS r ON p.instrument_id = r.instrument_id AND p.interval = r.interval
        WHERE r.timestamp >= p.gap_start AND r.timestamp < p.gap_end
        GROUP BY instrument_id, interval, gap_start
    ),
    known AS
    (
        SELECT p.instrument_id AS instrument_id, p.interval AS interval, p.gap_start AS gap_start,
            g.first_seen AS first_seen, g.attempts AS attempts, g.next_attempt_at AS next_attempt_at, g.version AS version,
            if(g.verdict = 'suspicious' AND g.gap_start = p.gap_start AND g.gap_end = p.gap_end, splitByString('; suspicious: ', g.evidence)[2], '') AS doubt
        FROM pieces AS p
        ASOF INNER JOIN
        (
            SELECT instrument_id, interval, gap_start, gap_end, verdict, evidence, first_seen, attempts, next_attempt_at, version
            FROM analytics.gaps FINAL
            WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open
        ) AS g ON p.instrument_id = g.instrument_id AND p.interval = g.interval AND p.gap_start >= g.gap_start
        WHERE g.gap_end > p.gap_start
    ),
    facts AS
    (
        SELECT
            p.instrument_id AS instrument_id, p.venue AS venue, p.symbol AS symbol, p.interval AS interval,
            p.gap_start AS gap_start, p.gap_end AS gap_end, p.answered AS answered, p.first_bar AS first_bar, p.last_bar AS last_bar,
            p.listed_at AS listed_at, p.delisted_at AS delisted_at, p.asked_from AS asked_from, p.step_ms AS step_ms,
            toUnixTimestamp64Milli(p.gap_end) - toUnixTimestamp64Milli(p.gap_start) AS length_ms,
            toUInt32(intDiv(length_ms, p.step_ms)) AS missing,
            fromUnixTimestamp64Milli(transform(p.instrument_id, {instruments:Array(UInt32)}, {wanted_from_ms:Array(Int64)}, toInt64(0)), 'UTC') AS wanted_from,
            fromUnixTimestamp64Milli(transform(p.instrument_id, {instruments:Array(UInt32)}, {wanted_until_ms:Array(Int64)}, toInt64(0)), 'UTC') AS wanted_until,
            transform(concat(p.venue, ' ', p.interval), {kept_series:Array(String)}, {kept_s:Array(Int64)}, toInt64(0)) AS retention_s,
            p.venue IN {quiet_venues:Array(String)} AS leaves_out_quiet,
            d.dark AS dark, a.symbols AS symbols, length(a.symbols) AS asked, b.frozen AS frozen, b.volume_before AS volume_before,
            b.volume_after AS volume_after, b.has_after AS has_after, greatest(s.silences, t.silences) AS silences, greatest(s.volume, t.volume) AS day_volume,
            f.failures AS failures, f.error AS error, r.rejected AS rejected, r.rule AS rule,
            k.version > 0 AS is_known, k.first_seen AS known_since, k.attempts AS attempts, k.next_attempt_at AS due, k.version AS known_version,
            k.doubt AS doubt,
            multiIf(
                gap_end <= wanted_from OR gap_end <= listed_at, 'not_listed',
                gap_start >= wanted_until OR gap_start >= delisted_at, 'delisted',
                NOT answered AND retention_s > 0 AND gap_end <= {now:DateTime64(3, 'UTC')} - toIntervalSecond(retention_s), 'retention_lost',
                NOT answered, 'we_missed',
                rejected > 0, 'rejected',
                first_bar IS NULL, 'unknown',
                -- Before its first bar of all it may not have been listed yet: nobody traded either way.
                gap_end <= first_bar AND leaves_out_quiet AND length_ms <= 1000 * toInt64({no_trades_s:UInt32}), 'no_trades',
                gap_end <= first_bar, if(listed_at IS NULL AND (missing >= {listing_silence_bars:UInt32} OR attempts >= {unknown_attempts:UInt32}), 'not_listed', 'unknown'),
                silences > 0 AND length_ms <= 1000 * toInt64({no_trades_s:UInt32}), 'no_trades',
                -- By chance no instrument trades for some minutes; that none does for long is no chance.
                asked >= 2 AND dark >= missing * {dark_share:Float64}
                    AND (NOT leaves_out_quiet OR length_ms >= 1000 * toInt64({outage_alone_s:UInt32})), 'venue_outage',
                asked < 2 AND has_after AND length_ms >= 1000 * toInt64({outage_alone_s:UInt32}), 'venue_outage',
                leaves_out_quiet AND length_ms <= 1000 * toInt64({no_trades_s:UInt32}), 'no_trades',
                'unknown') AS verdict,
            -- Until the pattern is looked at again (suspicious.sql) it stands.
            doubt != '' AND verdict IN ('venue_outage', 'no_trades') AS is_suspicious,
            multiIf(is_suspicious, {suspicious_attempts:UInt32}, verdict = 'unknown', {unknown_attempts:UInt32}, verdict = 'we_missed', {missed_attempts:UInt32}, verdict = 'rejected', {rejected_attempts:UInt32},
                verdict = 'venue_outage' AND asked < 2, {alone_attempts:UInt32},
                -- A listing that only a silence tells of: days that the venue lost by mistake look the same, months do not.
                verdict = 'not_listed' AND gap_end > wanted_from AND listed_at IS NULL AND length_ms <= 1000 * toInt64({never_asked_s:UInt32}),
                {alone_attempts:UInt32}, 0) AS attempts_max
        FROM pieces AS p
        LEFT JOIN dark AS d ON p.instrument_id = d.instrument_id AND p.interval = d.interval AND p.gap_start = d.gap_start
        LEFT JOIN asked AS a ON p.instrument_id = a.instrument_id AND p.interval = a.interval AND p.gap_start = a.gap_start
        LEFT JOIN beside AS b ON p.instrument_id = b.instrument_id AND p.interval = b.interval AND p.gap_start = b.gap_start
        -- A silence over midnight belongs to both days: either may be the one that is looked at.
        LEFT JOIN sparse AS s ON p.instrument_id = s.instrument_id AND p.interval = s.interval AND toDate(p.gap_start) = s.day
        LEFT JOIN sparse AS t ON p.instrument_id = t.instrument_id AND p.interval = t.interval
            AND toDate(p.gap_end - toIntervalMillisecond(1)) = t.day
        LEFT JOIN failed AS f ON p.instrument_id = f.instrument_id AND p.interval = f.interval AND p.gap_start = f.gap_start
        LEFT JOIN refused AS r ON p.instrument_id = r.instrument_id AND p.interval = r.interval AND p.gap_start = r.gap_start
        LEFT JOIN known AS k ON p.instrument_id = k.instrument_id AND p.interval = k.interval AND p.gap_start = k.gap_start
    )
SELECT
    {dataset:String}, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, if(is_suspicious, 'suspicious', verdict),
    concat(
        multiIf(
            verdict = 'not_listed' AND gap_end <= wanted_from, concat('the universe keeps it from ', toString(toDate(wanted_from)), ' on'),
            verdict = 'not_listed' AND gap_end <= listed_at, concat('the venue says that it was listed at ', formatDateTime(assumeNotNull(listed_at), '%F %R'), ' UTC'),
            verdict = 'not_listed', concat('the first bar of all is that of ', formatDateTime(assumeNotNull(first_bar), '%F %R'),
                ' UTC, and the venue had nothing for the ', toString(missing), ' slots before it back to ', formatDateTime(gap_start, '%F %R')),
            verdict = 'delisted' AND gap_start >= wanted_until, concat('the universe keeps it until ', toString(toDate(wanted_until))),
            verdict = 'delisted', concat('the venue says that it ended at ', formatDateTime(assumeNotNull(delisted_at), '%F %R'), ' UTC'),
            verdict = 'retention_lost', concat('the venue serves no more than the last ', if(retention_s < 172800, concat(toString(round(retention_s / 3600, 1)), ' hours'), concat(toString(intDiv(retention_s, 86400)), ' days')), ' of it'),
            verdict = 'we_missed' AND failures > 0, concat('asked ', toString(failures), ' times without a usable answer, the last time: ', substringUTF8(error, 1, 200), if(lengthUTF8(error) > 200, '…', '')),
            verdict = 'we_missed' AND length_ms > 1000 * toInt64({never_asked_s:UInt32}), 'never asked for, and too long for a repair: a backfill brings it',
            verdict = 'we_missed', 'never asked for',
            verdict = 'no_trades' AND silences = 0, concat('the venue publishes no bar of an interval without trades, answered for this one and has none',
                if(asked >= 2, concat('; of ', toString(asked), ' instruments asked all were silent in ', toString(dark), ' of ', toString(missing), ' slots'), '')),
            verdict = 'no_trades', concat('the series left out minutes ', toString(silences), ' times that day and sent none with zero volume; the bars beside it hold ',
                toString(round(volume_before, 6)), ' and ', toString(round(volume_after, 6)), ' of volume, one of that day ', toString(round(day_volume, 6)), ' on average'),
            verdict = 'venue_outage' AND asked >= 2, concat(if(asked <= 4, arrayStringConcat(symbols, ', '), concat(toString(asked), ' instruments')),
                ' were asked and silent together in ', toString(dark), ' of ', toString(missing), ' slots'),
            verdict = 'venue_outage', concat(toString(missing), ' slots with bars on both sides; rests on one instrument, no other was asked for that time'),
            rejected > 0, concat('the venue sent ', toString(rejected), ' rows here that break ', rule, ': they are in rejected_rows'),
            first_bar IS NULL, 'the venue answered and has never had a bar of it',
            gap_end <= first_bar, 'the venue had nothing before the first bar, too short a silence to say that it was not listed yet',
            NOT has_after, 'the venue has had nothing since the last bar',
            asked >= 2, concat('silent while others traded: of ', toString(asked), ' instruments asked all were silent in only ', toString(dark), ' of ', toString(missing), ' slots'),
            'the venue answered and has nothing here'),
        if(verdict = 'venue_outage' AND frozen > 0, concat('; ', toString(frozen), ' frozen bars come directly before it'), ''),
        if(attempts_max > 0 AND attempts > 0, concat('; healing asked again ', toString(attempts), ' times',
            multiIf(attempts < attempts_max, '', verdict = 'we_missed', ' in vain: no more will be asked', ', the venue has nothing: no more will be asked')), ''),
        if(is_suspicious, concat('; suspicious: ', doubt), '')
    ) AS evidence,
    toJSONString(map(
        'missing', toFloat64(missing), 'instruments_asked', toFloat64(asked), 'all_silent', toFloat64(dark), 'frozen_before', toFloat64(frozen),
        'silences_that_day', toFloat64(silences), 'mean_volume_that_day', day_volume, 'volume_before', volume_before, 'volume_after', volume_after,
        'failures', toFloat64(failures), 'rejected', toFloat64(rejected), 'answered', toFloat64(answered), 'no_trades', toFloat64(verdict = 'no_trades'))) AS figures,
    frozen,
    if(is_known, known_since, {now:DateTime64(3, 'UTC')}),
    {now:DateTime64(3, 'UTC')}, attempts,
    if(
        attempts >= attempts_max OR (NOT answered AND failures = 0 AND length_ms > 1000 * toInt64({never_asked_s:UInt32})),
        NULL,
        -- What nobody asked for yet is left to the live tail and to the close of the day for as long as it may be late.
        ifNull(due, {now:DateTime64(3, 'UTC')} + toIntervalSecond(if(answered OR failures > 0, 0, {grace_s:UInt32})))) AS next_attempt_at,
    true,
    greatest(toUInt64(toUnixTimestamp64Milli({now:DateTime64(3, 'UTC')})), known_version + 1)
FROM facts
-- What only touches the range is here because it may be the rest of a gap known before.
WHERE is_known OR (gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')})
