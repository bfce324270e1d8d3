-- Gaps that touch a period, those that are open and unexplained first; filled ones too, because they were holes once.
SELECT *, concat(venue, '.', replaceOne(symbol, '/', '-')) AS instrument, count() OVER () AS total
FROM analytics.v_gaps
WHERE gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
ORDER BY is_open AND verdict IN {unexplained:Array(String)} DESC, is_open DESC, missing DESC, venue, symbol, interval, gap_start
LIMIT {rows_max:UInt32}
