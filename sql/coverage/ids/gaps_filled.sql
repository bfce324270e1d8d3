-- Open gaps of events in [start, end) that this judgement no longer found: trades came, or the venue has answered for the time.
INSERT INTO analytics.gaps
(
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts, next_attempt_at, is_open, version
)
SELECT
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, 'we_missed',
    concat(evidence, '; it came with a later answer, after ', toString(attempts), ' attempts of healing'),
    figures, frozen, first_seen, {now:DateTime64(3, 'UTC')}, attempts, NULL, false,
    greatest(toUInt64(toUnixTimestamp64Milli({now:DateTime64(3, 'UTC')})), version + 1)
FROM analytics.gaps FINAL
WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open
    AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
    AND last_seen < {now:DateTime64(3, 'UTC')}
