-- What a venue no longer had of settlements when it was asked: from where it was asked to its first settlement, or to where
-- what it keeps began at that moment. How many settlements are lost nobody can know. A rerun writes nothing; a gap that is
-- found to begin or end elsewhere takes the place of the one known. Parameters: dataset, instruments, kept_s, skew_ms, now.
INSERT INTO analytics.gaps
(
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts, next_attempt_at, is_open, version
)
WITH
    lost AS
    (
        SELECT a.instrument_id AS instrument_id, a.venue AS venue, a.symbol AS symbol, a.asked_from AS gap_start,
            if(f.instrument_id != 0, least(f.first_row, a.lost_until), a.lost_until) AS gap_end
        FROM
        (
            SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, min(window_start) AS asked_from,
                max(least(window_end, kept_from)) AS lost_until
            FROM
            (
                SELECT instrument_id, venue, symbol, window_start, window_end,
                    addMilliseconds(min(recorded_at), {skew_ms:Int64}) - toIntervalSecond({kept_s:UInt32}) AS kept_from
                FROM analytics.ingest_batches
                WHERE dataset = {dataset:String} AND status = 'complete' AND instrument_id IN {instruments:Array(UInt32)}
                GROUP BY instrument_id, venue, symbol, window_start, window_end
            )
            WHERE kept_from > window_start
            GROUP BY instrument_id
        ) AS a
        LEFT JOIN
        (
            SELECT instrument_id, min(timestamp) AS first_row
            FROM {database:Identifier}.{landing:Identifier} WHERE instrument_id IN {instruments:Array(UInt32)} GROUP BY instrument_id
        ) AS f ON a.instrument_id = f.instrument_id
        WHERE gap_end > gap_start
    ),
    known AS
    (
        SELECT * FROM analytics.gaps FINAL
        WHERE dataset = {dataset:String} AND interval = '' AND instrument_id IN {instruments:Array(UInt32)} AND is_open
            AND verdict = 'retention_lost' AND missing = 0  -- the other gaps are coverage's
    )
SELECT
    {dataset:String}, instrument_id, venue, symbol, '', gap_start, gap_end, 0, 'retention_lost',
    concat('the venue serves no more than the last ', toString(intDiv({kept_s:UInt32}, 86400)), ' days of it and was first asked for this when it was older'),
    '{}', 0, {now:DateTime64(3, 'UTC')}, {now:DateTime64(3, 'UTC')}, 0, NULL, true, toUInt64(toUnixTimestamp64Milli({now:DateTime64(3, 'UTC')}))
FROM lost
WHERE (instrument_id, gap_start, gap_end) NOT IN (SELECT instrument_id, gap_start, gap_end FROM known)
UNION ALL
SELECT
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, concat(evidence, '; now part of another gap'),
    figures, frozen, first_seen, {now:DateTime64(3, 'UTC')}, attempts, NULL, false,
    greatest(toUInt64(toUnixTimestamp64Milli({now:DateTime64(3, 'UTC')})), version + 1)
FROM known
WHERE (instrument_id, gap_start) NOT IN (SELECT instrument_id, gap_start FROM lost)
