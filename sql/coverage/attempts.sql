-- Notes, before the venue is asked again for [start, end), that it is: attempts grow and the next one moves further away.
INSERT INTO analytics.gaps
(
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts, next_attempt_at, is_open, version
)
SELECT
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts + 1,
    {now:DateTime64(3, 'UTC')} + toIntervalSecond(toUInt32(least(
        {backoff_max_s:UInt32}, {backoff_first_s:UInt32} * pow({backoff_factor:UInt32}, least(attempts, 8))))),
    is_open, greatest(toUInt64(toUnixTimestamp64Milli({now:DateTime64(3, 'UTC')})), version + 1)
FROM analytics.gaps FINAL
WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open
    AND next_attempt_at <= {now:DateTime64(3, 'UTC')}
    AND attempts < transform(toString(verdict), {verdicts:Array(String)}, {attempts_max:Array(UInt32)}, toUInt32(0))
    AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
