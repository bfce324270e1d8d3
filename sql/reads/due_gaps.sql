-- Open gaps that healing should ask for again by now, those due longest first.
SELECT instrument_id, interval, gap_start, gap_end, verdict, attempts
FROM analytics.v_gaps
WHERE dataset = {dataset:String} AND is_open AND next_attempt_at <= {now:DateTime64(3, 'UTC')}
    AND instrument_id IN {instruments:Array(UInt32)}
    AND attempts < multiIf(verdict = 'unknown', {unknown_attempts:UInt32}, verdict = 'we_missed', {missed_attempts:UInt32}, {alone_attempts:UInt32})
ORDER BY next_attempt_at, instrument_id, interval, gap_start
