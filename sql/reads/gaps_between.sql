-- Gaps of some instruments that reach into [start, end), with the evidence. Filled ones only if asked for.
SELECT instrument_id, dataset, interval, gap_start, gap_end, missing, verdict, evidence, attempts, next_attempt_at, is_open,
    first_seen, last_seen
FROM analytics.v_gaps
WHERE instrument_id IN {instruments:Array(UInt32)} AND (interval = {interval:String} OR {interval:String} = '')
    AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
    AND (is_open OR {with_filled:Bool})
ORDER BY venue, symbol, dataset, interval, gap_start
