-- Open gaps in [start, end) that this judgement no longer found: bars came, or they became part of another gap.
INSERT INTO analytics.gaps
(
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts, next_attempt_at, is_open, version
)
WITH
    gone AS
    (
        SELECT *, step_ms
        FROM analytics.gaps FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open
            AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
            AND last_seen < {now:DateTime64(3, 'UTC')}
    ),
    came AS
    (
        SELECT g.instrument_id AS instrument_id, g.interval AS interval, g.gap_start AS gap_start, count() AS bars
        FROM
        (
            SELECT instrument_id, interval, gap_start,
                arrayJoin(range(toUnixTimestamp64Milli(gap_start), toUnixTimestamp64Milli(gap_end), step_ms)) AS slot_ms
            FROM gone
        ) AS g
        INNER JOIN
        (
            SELECT DISTINCT instrument_id, interval,
                intDiv(toUnixTimestamp64Milli(timestamp), step_ms) * step_ms AS slot_ms
            FROM {database:Identifier}.{current:Identifier}
            WHERE instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= (SELECT min(gap_start) FROM gone) AND timestamp < (SELECT max(gap_end) FROM gone)
        ) AS b ON g.instrument_id = b.instrument_id AND g.interval = b.interval AND g.slot_ms = b.slot_ms
        GROUP BY instrument_id, interval, gap_start
    )
SELECT
    g.dataset, g.instrument_id, g.venue, g.symbol, g.interval, g.gap_start, g.gap_end, g.missing,
    if(c.bars > 0, 'we_missed', g.verdict),
    if(c.bars > 0,
        concat(toString(c.bars), ' of ', toString(g.missing), ' bars came with a later answer, after ', toString(g.attempts), ' attempts of healing'),
        concat(g.evidence, '; now part of another gap')),
    g.figures, g.frozen, g.first_seen, {now:DateTime64(3, 'UTC')}, g.attempts, NULL, false,
    greatest(toUInt64(toUnixTimestamp64Milli({now:DateTime64(3, 'UTC')})), g.version + 1)
FROM gone AS g
LEFT JOIN came AS c ON g.instrument_id = c.instrument_id AND g.interval = c.interval AND g.gap_start = c.gap_start
