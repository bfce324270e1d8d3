-- Coverage of some instruments, a row a day of each series.
SELECT instrument_id, dataset, interval, day, expected, present, missing, explained, rejected, off_grid, revised, frozen,
    is_settled, score, completeness, finality, agreement, freshness, computed_at
FROM analytics.v_coverage
WHERE instrument_id IN {instruments:Array(UInt32)} AND (interval = {interval:String} OR {interval:String} = '')
    AND day >= toDate({start:DateTime64(3, 'UTC')}) AND toDateTime64(day, 3, 'UTC') < {end:DateTime64(3, 'UTC')}
ORDER BY venue, symbol, dataset, interval, day
