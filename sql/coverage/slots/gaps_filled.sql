-- Open gaps of what has few rows in [start, end) that this judgement no longer found: rows came, or the gap became
-- part of another one. What landing found forgotten by the venue has no missing slots, and is landing's to close.
INSERT INTO analytics.gaps
(
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts, next_attempt_at, is_open, version
)
WITH
    gone AS
    (
        SELECT * FROM analytics.gaps FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open AND missing > 0
            AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
            AND last_seen < {now:DateTime64(3, 'UTC')}
    ),
    came AS
    (
        SELECT g.instrument_id AS instrument_id, g.gap_start AS gap_start, uniqExact(r.timestamp) AS rows
        FROM gone AS g
        INNER JOIN
        (
            SELECT instrument_id, timestamp FROM {database:Identifier}.{current:Identifier}
            WHERE instrument_id IN {instruments:Array(UInt32)} AND ({slot_series:String} = '' OR toString({series:Identifier}) = {slot_series:String})
        ) AS r ON g.instrument_id = r.instrument_id
        WHERE r.timestamp >= g.gap_start AND r.timestamp < g.gap_end
        GROUP BY instrument_id, gap_start
    )
SELECT
    g.dataset, g.instrument_id, g.venue, g.symbol, g.interval, g.gap_start, g.gap_end, g.missing,
    if(c.rows > 0, 'we_missed', g.verdict),
    if(c.rows > 0,
        concat(toString(c.rows), ' of ', toString(g.missing), ' rows came with a later answer, after ', toString(g.attempts), ' attempts of healing'),
        concat(g.evidence, '; now part of another gap, or none by what is known of the grid')),
    g.figures, g.frozen, g.first_seen, {now:DateTime64(3, 'UTC')}, g.attempts, NULL, false,
    greatest(toUInt64(toUnixTimestamp64Milli({now:DateTime64(3, 'UTC')})), g.version + 1)
FROM gone AS g
LEFT JOIN came AS c ON g.instrument_id = c.instrument_id AND g.gap_start = c.gap_start
