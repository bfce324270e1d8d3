-- Days that were judged, and what is missing of them: coverage has rows of them, or a run of the asset that judges ended well.
-- The second is for days of which nothing is known and nothing was due: they have no row.
SELECT instrument_id, day, sum(slots_missing) AS missing, sum(slots_explained) AS explained
FROM
(
    SELECT instrument_id, day, coverage.missing AS slots_missing, coverage.explained AS slots_explained
    FROM analytics.coverage FINAL
    WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
        AND day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')})
    UNION ALL
    SELECT arrayJoin(arrayIntersect(instrument_ids, {instruments:Array(UInt32)})), toDate(arrayJoin(range(
            toUInt32(greatest(assumeNotNull(day_from), toDate({start:DateTime64(3, 'UTC')}))),
            toUInt32(least(assumeNotNull(day_until), toDate({end:DateTime64(3, 'UTC')})))))), 0, 0
    FROM analytics.runs FINAL
    WHERE outcome = 'success' AND has(assets, {judge:String})
        AND day_from < toDate({end:DateTime64(3, 'UTC')}) AND day_until > toDate({start:DateTime64(3, 'UTC')})
)
GROUP BY instrument_id, day
