-- Instruments with an open gap in [start, end).
SELECT DISTINCT instrument_id
FROM analytics.v_gaps
WHERE dataset = {dataset:String} AND is_open AND instrument_id IN {instruments:Array(UInt32)}
    AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
ORDER BY instrument_id
