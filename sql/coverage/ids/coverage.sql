-- Expected, present and missing events of each day of [start, end), and its quality score, made of the same four parts as that of
-- bars. Expected is what is there, what broke a rule, and what the open gaps count; a gap belongs to the day in which it begins.
-- Where the venue names its events and does not count them, nobody knows how many are missing: a day is as complete as their volume
-- is of that of its minutes, where we have those.
INSERT INTO analytics.coverage
(
    dataset, instrument_id, venue, symbol, interval, day, expected, present, missing, explained, not_due, rejected, off_grid, revised, frozen,
    is_settled, score, completeness, finality, agreement, freshness, computed_at
)
WITH
    there AS
    (
        SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, toDate(timestamp) AS day, count() AS present
        FROM {database:Identifier}.{current:Identifier} FINAL
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
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
        SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, toDate(gap_start) AS day, sum(g.missing) AS missing,
            sumIf(g.missing, verdict NOT IN {unexplained:Array(String)}) AS explained, sumIf(g.missing, verdict IN {not_due:Array(String)}) AS not_due,
            countIf(JSONExtractFloat(figures, 'answered') != 1) AS unanswered
        FROM analytics.gaps AS g FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open
            AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_start >= {start:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, day
    ),
    proved AS
    (
        SELECT b.instrument_id AS instrument_id, b.day AS day, 100 * least(1., t.volume / b.volume) AS share
        FROM
        (
            SELECT instrument_id, toDate(timestamp) AS day, sum(v_bars.volume) AS volume
            FROM analytics.v_bars
            WHERE instrument_id IN {named:Array(UInt32)} AND interval = '1m'
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            GROUP BY instrument_id, day
        ) AS b
        LEFT JOIN
        (
            SELECT instrument_id, toDate(timestamp) AS day, sum(quantity) AS volume
            FROM analytics.trades FINAL
            WHERE instrument_id IN {named:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            GROUP BY instrument_id, day
        ) AS t ON b.instrument_id = t.instrument_id AND b.day = t.day
        WHERE b.volume > 0
    ),
    known AS
    (
        SELECT * FROM analytics.coverage FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
            AND day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')})
    ),
    answered AS
    (
        SELECT instrument_id, groupArray((answered_from, answered_until)) AS spans
        FROM analytics.answered_windows(
            dataset = {dataset:String}, instruments = {instruments:Array(UInt32)},
            start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
        GROUP BY instrument_id
    )
SELECT
    c.dataset, c.instrument_id, c.venue, c.symbol, '', c.day, c.expected, c.present, c.missing, c.explained, c.not_due, c.rejected,
    0, 0, 0, c.is_settled, c.score, c.completeness, 100, c.agreement, c.freshness, {now:DateTime64(3, 'UTC')}
FROM
(
    SELECT
        {dataset:String} AS dataset, d.instrument_id AS instrument_id, d.venue AS venue, d.symbol AS symbol, d.day AS day,
        toUInt32(least(t.present + r.rows + h.missing, 4294967295)) AS expected, toUInt32(t.present) AS present,
        toUInt32(least(r.rows + h.missing, 4294967295)) AS missing, toUInt32(least(h.explained, 4294967295)) AS explained,
        toUInt32(least(h.not_due, 4294967295)) AS not_due, toUInt32(r.rows) AS rejected,
        h.unanswered = 0 AND arrayExists(s -> s.1 <= toDateTime64(d.day, 3, 'UTC') AND s.2 >= toDateTime64(d.day + 1, 3, 'UTC'), a.spans) AS is_settled,
        floor(least(completeness, {weight_completeness:Float64} * completeness + {weight_finality:Float64} * 100
            + {weight_agreement:Float64} * agreement + {weight_freshness:Float64} * freshness) + 1e-9, 1) AS score,
        least(if(expected <= not_due, 100, 100 * present / (expected - not_due)), if(p.instrument_id != 0, p.share, 100)) AS completeness,
        greatest(0, 100 - 100 * rejected / greatest(1, t.present)) AS agreement,
        if(h.unanswered > 0, 0, 100) AS freshness
    FROM
    (
        SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, day
        FROM
        (
            SELECT instrument_id, venue, symbol, day FROM there
            UNION ALL SELECT instrument_id, venue, symbol, day FROM holes
            UNION ALL SELECT instrument_id, venue, symbol, day FROM known
        )
        GROUP BY instrument_id, day
    ) AS d
    LEFT JOIN there AS t ON d.instrument_id = t.instrument_id AND d.day = t.day
    LEFT JOIN rejected AS r ON d.instrument_id = r.instrument_id AND d.day = r.day
    LEFT JOIN holes AS h ON d.instrument_id = h.instrument_id AND d.day = h.day
    LEFT JOIN answered AS a ON d.instrument_id = a.instrument_id
    LEFT JOIN proved AS p ON d.instrument_id = p.instrument_id AND d.day = p.day
) AS c
LEFT JOIN known ON c.instrument_id = known.instrument_id AND c.day = known.day
-- What is known already is not written again, however often somebody looks.
WHERE known.dataset = ''
    OR (c.expected, c.present, c.missing, c.explained, c.not_due, c.rejected, c.is_settled, c.score, c.completeness, c.agreement, c.freshness)
        != (known.expected, known.present, known.missing, known.explained, known.not_due, known.rejected, known.is_settled, known.score,
        known.completeness, known.agreement, known.freshness)
