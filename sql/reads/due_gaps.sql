-- Open gaps that healing should ask for again by now, those due longest first.
SELECT instrument_id, interval, gap_start, gap_end, verdict, attempts
FROM analytics.v_gaps
WHERE dataset = {dataset:String} AND is_open AND next_attempt_at <= {now:DateTime64(3, 'UTC')}
    AND instrument_id IN {instruments:Array(UInt32)}
    AND attempts < transform(toString(verdict), {verdicts:Array(String)}, {attempts_max:Array(UInt32)}, toUInt32(0))
ORDER BY next_attempt_at, instrument_id, interval, gap_start
