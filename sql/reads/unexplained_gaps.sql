-- Open gaps without an explanation that healing has asked for so many times, or will not ask for again, and suspicious ones at
-- once, by instrument.
SELECT
    dataset, venue, symbol, min(first_seen) AS since, min(gap_start) AS first, count() AS gaps, sum(missing) AS missing,
    arrayStringConcat(arraySort(groupUniqArray(toString(verdict))), ', ') AS verdicts
FROM analytics.v_gaps
WHERE is_open AND verdict IN {unexplained:Array(String)} AND instrument_id IN {instruments:Array(UInt32)}
    AND (attempts >= {attempts:UInt32} OR next_attempt_at IS NULL OR verdict = 'suspicious')
GROUP BY dataset, venue, symbol
ORDER BY dataset, venue, symbol
