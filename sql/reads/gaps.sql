-- Gaps of some instruments, with the evidence. Filled ones only if asked for.
SELECT * FROM analytics.v_gaps
WHERE instrument_id IN {instruments:Array(UInt32)} AND (is_open OR {with_filled:Bool})
ORDER BY venue, symbol, interval, gap_start
