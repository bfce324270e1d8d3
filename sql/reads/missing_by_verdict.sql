-- Open gaps that reach into [start, end), by verdict.
SELECT verdict, count() AS gaps, sum(missing) AS missing
FROM analytics.v_gaps
WHERE dataset = {dataset:String} AND is_open AND instrument_id IN {instruments:Array(UInt32)}
    AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
GROUP BY verdict
ORDER BY missing DESC
