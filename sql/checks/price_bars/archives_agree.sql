-- Bars that two sources told differently: of each source what it said last. The one of the higher rank is published, the
-- other stays in landing. Days that one source alone has are not read any further.
WITH
    shared AS
    (
        SELECT instrument_id, interval, toStartOfDay(timestamp) AS day
        FROM analytics.landing_price_bars
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, interval, day
        HAVING uniqExact(source) > 1 AND countIf(source IN ('archive_daily', 'archive_monthly', 'archive_unverified')) > 0
    )
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows,
    concat('told differently by ', arrayStringConcat(arraySort(groupUniqArrayArray(sources)), ', '),
        if(countIf(hasAny(sources, ['archive_daily', 'archive_monthly'])) = 0, '',
            '; the file is published: --refetch --source archive_daily reads the files of days, which outrank those of months'))
        AS what
FROM
(
    SELECT any(venue) AS venue, any(symbol) AS symbol, interval, timestamp, groupArray(source) AS sources
    FROM
    (
        SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, interval, timestamp, toString(source) AS source,
            argMax(cityHash64(tuple(close_time, open, high, low, close, sample_count)), ingested_at) AS told
        FROM analytics.landing_price_bars
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND is_closed AND (instrument_id, interval, toStartOfDay(timestamp)) IN (SELECT instrument_id, interval, day FROM shared)
        GROUP BY instrument_id, interval, timestamp, source
    )
    GROUP BY instrument_id, interval, timestamp
    HAVING uniqExact(told) > 1
)
GROUP BY venue, symbol, interval
ORDER BY venue, symbol, interval
