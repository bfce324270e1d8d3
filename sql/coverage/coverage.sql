-- Expected, present and missing slots of each day of [start, end) that was ever asked for, and its quality score.
-- The score is a weighted sum of four parts of 0 to 100 each; the weights are given by the caller and add up to 1.
INSERT INTO analytics.coverage
(
    dataset, instrument_id, venue, symbol, interval, day, expected, present, missing, explained, not_due, rejected, off_grid, revised, frozen,
    is_settled, score, completeness, finality, agreement, freshness, computed_at
)
WITH
    0. AS nothing,
    days AS
    (
        SELECT *, intDiv(toUnixTimestamp64Milli(day_end), step_ms) - intDiv(toUnixTimestamp64Milli(day_start), step_ms) AS slots
        FROM
        (
            SELECT
                instrument_id, venue, symbol, interval, step_ms, toDate(arrayJoin(range(
                    toUInt32(toDate(greatest(asked_from, {start:DateTime64(3, 'UTC')}))),
                    toUInt32(toDate(least(expected_until, {end:DateTime64(3, 'UTC')}) - toIntervalMillisecond(1))) + 1))) AS day,
                greatest(toDateTime64(day, 3, 'UTC'), asked_from) AS day_start,
                least(toDateTime64(day + 1, 3, 'UTC'), expected_until) AS day_end,
                expected_until
            FROM analytics.asked_spans(
                dataset = {dataset:String}, instruments = {instruments:Array(UInt32)}, now = {now:DateTime64(3, 'UTC')},
                grace_s = {grace_s:UInt32}, never_asked_s = {never_asked_s:UInt32})
            WHERE step_ms > 0 AND asked_from < {end:DateTime64(3, 'UTC')} AND expected_until > {start:DateTime64(3, 'UTC')}
        )
        WHERE day_end > day_start
    ),
    there AS
    (
        SELECT
            instrument_id, interval, toDate(timestamp) AS day, uniqExact(intDiv(timestamp_unix, step_ms)) AS present,
            countIf(timestamp_unix % step_ms != 0) AS off_grid,
            countIf(volume = 0 AND open = high AND high = low AND low = close) AS frozen,
            countIf(toUnixTimestamp64Milli(ingested_at) >= timestamp_unix + step_ms + 1000 * toInt64({final_after_s:UInt32})) AS final,
            count() AS bars
        FROM
        (
            SELECT instrument_id, interval, timestamp, timestamp_unix, step_ms, open, high, low, close, {volume:Identifier} AS volume, ingested_at
            FROM {database:Identifier}.{current:Identifier} FINAL
            WHERE instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        )
        GROUP BY instrument_id, interval, day
    ),
    revised AS
    (
        SELECT instrument_id, interval, toDate(timestamp) AS day, count() AS bars
        FROM
        (
            SELECT instrument_id, interval, timestamp
            FROM {database:Identifier}.{history:Identifier}
            WHERE instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            GROUP BY instrument_id, interval, timestamp
            HAVING min(version) != max(version)
        )
        GROUP BY instrument_id, interval, day
    ),
    rejected AS
    (
        SELECT instrument_id, interval, toDate(timestamp) AS day, count() AS rows
        FROM analytics.rejected_rows FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, interval, day
    ),
    holes AS
    (
        SELECT instrument_id, interval, day, sumIf(slots, verdict NOT IN {unexplained:Array(String)}) AS explained,
            sumIf(slots, verdict IN {not_due:Array(String)}) AS not_due,
            sumIf(slots, NOT answered) AS unanswered
        FROM
        (
            SELECT instrument_id, interval, verdict, JSONExtractFloat(figures, 'answered') = 1 AS answered, step_ms,
                toDate(arrayJoin(range(
                    toUInt32(toDate(greatest(gap_start, {start:DateTime64(3, 'UTC')}))),
                    toUInt32(toDate(least(gap_end, {end:DateTime64(3, 'UTC')}) - toIntervalMillisecond(1))) + 1))) AS day,
                intDiv(toUnixTimestamp64Milli(least(gap_end, toDateTime64(day + 1, 3, 'UTC')))
                    - toUnixTimestamp64Milli(greatest(gap_start, toDateTime64(day, 3, 'UTC'))), step_ms) AS slots
            FROM analytics.gaps FINAL
            WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open
                AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
        )
        GROUP BY instrument_id, interval, day
    )
SELECT
    c.dataset, c.instrument_id, c.venue, c.symbol, c.interval, c.day, c.expected, c.present, c.missing, c.explained, c.not_due, c.rejected,
    c.off_grid, c.revised, c.frozen, c.is_settled, c.score, c.completeness, c.finality, c.agreement, c.freshness,
    {now:DateTime64(3, 'UTC')}
FROM
(
    SELECT
        {dataset:String} AS dataset, d.instrument_id AS instrument_id, d.venue AS venue, d.symbol AS symbol, d.interval AS interval, d.day AS day,
        toUInt32(d.slots) AS expected, toUInt32(t.present) AS present,
        greatest(0, toInt64(expected) - toInt64(present)) AS missing, least(missing, h.explained) AS explained, least(missing, h.not_due) AS not_due,
        r.rows AS rejected, t.off_grid AS off_grid, v.bars AS revised, t.frozen AS frozen,
        d.expected_until >= toDateTime64(d.day + 1, 3, 'UTC') AND h.unanswered = 0 AS is_settled,
        floor(least(completeness, {weight_completeness:Float64} * completeness + {weight_finality:Float64} * finality
            + {weight_agreement:Float64} * agreement + {weight_freshness:Float64} * freshness) + 1e-9, 1) AS score,
        if(expected <= not_due, 100, least(100, 100 * present / (expected - not_due))) AS completeness,
        if(t.bars = 0, 100, 100 * t.final / t.bars) AS finality,
        greatest(0, 100 - 100 * (rejected + off_grid + revised) / greatest(1, t.bars)) AS agreement,
        greatest(0, 100 - 100 * h.unanswered / expected) AS freshness
    FROM days AS d
    LEFT JOIN there AS t ON d.instrument_id = t.instrument_id AND d.interval = t.interval AND d.day = t.day
    LEFT JOIN revised AS v ON d.instrument_id = v.instrument_id AND d.interval = v.interval AND d.day = v.day
    LEFT JOIN rejected AS r ON d.instrument_id = r.instrument_id AND d.interval = r.interval AND d.day = r.day
    LEFT JOIN holes AS h ON d.instrument_id = h.instrument_id AND d.interval = h.interval AND d.day = h.day
    WHERE d.slots > 0
) AS c
LEFT JOIN
(
    SELECT * FROM analytics.coverage FINAL
    WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
        AND day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')} + INTERVAL 1 DAY)
) AS known ON c.instrument_id = known.instrument_id AND c.interval = known.interval AND c.day = known.day
-- What is known already is not written again, however often somebody looks.
WHERE known.dataset = ''
    OR (c.expected, c.present, c.missing, c.explained, c.not_due, c.rejected, c.off_grid, c.revised, c.frozen,
        c.is_settled, c.score, c.completeness, c.finality, c.agreement, c.freshness)
        != (known.expected, known.present, known.missing, known.explained, known.not_due, known.rejected, known.off_grid, known.revised, known.frozen,
        known.is_settled, known.score, known.completeness, known.finality, known.agreement, known.freshness)
