-- Expected, present and missing settlements (or days of what has one row a day) of each day of [start, end), and its quality score, made of the
-- same four parts as that of bars. Expected is what is there and what the open gaps miss: a day of which nothing is known,
-- because the venue no longer served it, has no row. A settlement has no grid to be off.
INSERT INTO analytics.coverage
(
    dataset, instrument_id, venue, symbol, interval, day, expected, present, missing, explained, not_due, rejected, off_grid, revised, frozen,
    is_settled, score, completeness, finality, agreement, freshness, computed_at
)
WITH
    there AS
    (
        SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, if({is_observed:Bool}, '', '1d') AS interval,
            toDate(timestamp) AS day, count() AS present,
            countIf(interval = '1d' AND timestamp != toStartOfInterval(timestamp, INTERVAL 1 DAY)) AS off_grid,
            countIf(ingested_at >= timestamp + toIntervalDay(interval = '1d') + toIntervalSecond({final_after_s:UInt32})) AS final
        FROM (SELECT instrument_id, venue, symbol, {series:Identifier} AS kind, timestamp, ingested_at FROM {database:Identifier}.{current:Identifier} FINAL)
        WHERE instrument_id IN {instruments:Array(UInt32)} AND ({slot_series:String} = '' OR toString(kind) = {slot_series:String})
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, interval, day
    ),
    revised AS
    (
        SELECT instrument_id, toDate(timestamp) AS day, count() AS rows
        FROM
        (
            SELECT instrument_id, timestamp
            FROM {database:Identifier}.{history:Identifier}
            WHERE instrument_id IN {instruments:Array(UInt32)} AND ({slot_series:String} = '' OR toString({series:Identifier}) = {slot_series:String})
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            GROUP BY instrument_id, timestamp
            HAVING min(version) != max(version)
        )
        GROUP BY instrument_id, day
    ),
    rejected AS
    (
        SELECT instrument_id, toDate(timestamp) AS day, count() AS rows
        FROM analytics.rejected_rows FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, day
    ),
    holes AS
    (
        SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, interval, day, count() AS missing,
            countIf(verdict NOT IN {unexplained:Array(String)}) AS explained, countIf(verdict IN {not_due:Array(String)}) AS not_due, countIf(NOT answered) AS unanswered
        FROM
        (
            SELECT instrument_id, venue, symbol, interval, verdict, JSONExtractFloat(figures, 'answered') = 1 AS answered,
                intDiv(toUnixTimestamp64Milli(gap_end) - toUnixTimestamp64Milli(gap_start), toInt64(missing)) AS step_ms,
                toDate(fromUnixTimestamp64Milli(arrayJoin(range(
                    toUnixTimestamp64Milli(gap_start), toUnixTimestamp64Milli(gap_end), step_ms)), 'UTC')) AS day
            FROM analytics.gaps FINAL
            WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open AND missing > 0
                AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
        )
        WHERE day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')})
        GROUP BY instrument_id, interval, day
    ),
    known AS
    (
        SELECT * FROM analytics.coverage FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
            AND day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')})
    ),
    spans AS
    (
        SELECT instrument_id, expected_until
        FROM analytics.asked_spans(
            dataset = {dataset:String}, instruments = {instruments:Array(UInt32)}, now = {now:DateTime64(3, 'UTC')},
            grace_s = {grace_s:UInt32}, never_asked_s = {never_asked_s:UInt32})
    )
SELECT
    c.dataset, c.instrument_id, c.venue, c.symbol, c.interval, c.day, c.expected, c.present, c.missing, c.explained, c.not_due, c.rejected,
    c.off_grid, c.revised, c.frozen, c.is_settled, c.score, c.completeness, c.finality, c.agreement, c.freshness,
    {now:DateTime64(3, 'UTC')}
FROM
(
    SELECT
        {dataset:String} AS dataset, d.instrument_id AS instrument_id, d.venue AS venue, d.symbol AS symbol, d.interval AS interval, d.day AS day,
        toUInt32(t.present + h.missing) AS expected, toUInt32(t.present) AS present, toUInt32(h.missing) AS missing,
        toUInt32(h.explained) AS explained, h.not_due AS not_due, r.rows AS rejected, t.off_grid AS off_grid, v.rows AS revised, toUInt32(0) AS frozen,
        s.expected_until >= toDateTime64(d.day + 1, 3, 'UTC') AND h.unanswered = 0 AS is_settled,
        floor(least(completeness, {weight_completeness:Float64} * completeness + {weight_finality:Float64} * finality
            + {weight_agreement:Float64} * agreement + {weight_freshness:Float64} * freshness) + 1e-9, 1) AS score,
        if(expected <= not_due, 100, 100 * present / (expected - not_due)) AS completeness,
        if(t.present = 0, 100, 100 * t.final / t.present) AS finality,
        greatest(0, 100 - 100 * (rejected + off_grid + revised) / greatest(1, t.present)) AS agreement,
        if(expected = 0, 100, greatest(0, 100 - 100 * h.unanswered / expected)) AS freshness
    FROM
    (
        SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, interval, day
        FROM
        (
            SELECT instrument_id, venue, symbol, interval, day FROM there
            UNION ALL SELECT instrument_id, venue, symbol, interval, day FROM holes
            -- Where a slot was expected and the grid has turned out to be another.
            UNION ALL SELECT instrument_id, venue, symbol, interval, day FROM known
        )
        GROUP BY instrument_id, interval, day
    ) AS d
    LEFT JOIN there AS t ON d.instrument_id = t.instrument_id AND d.interval = t.interval AND d.day = t.day
    LEFT JOIN revised AS v ON d.instrument_id = v.instrument_id AND d.day = v.day
    LEFT JOIN rejected AS r ON d.instrument_id = r.instrument_id AND d.day = r.day
    LEFT JOIN holes AS h ON d.instrument_id = h.instrument_id AND d.interval = h.interval AND d.day = h.day
    LEFT JOIN spans AS s ON d.instrument_id = s.instrument_id
) AS c
LEFT JOIN known ON c.instrument_id = known.instrument_id AND c.interval = known.interval AND c.day = known.day
-- What is known already is not written again, however often somebody looks.
WHERE known.dataset = ''
    OR (c.expected, c.present, c.missing, c.explained, c.not_due, c.rejected, c.off_grid, c.revised,
        c.is_settled, c.score, c.completeness, c.finality, c.agreement, c.freshness)
        != (known.expected, known.present, known.missing, known.explained, known.not_due, known.rejected, known.off_grid, known.revised,
        known.is_settled, known.score, known.completeness, known.finality, known.agreement, known.freshness)
