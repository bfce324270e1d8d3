-- Files that the venue has replaced since a moment, with the bars that are other ones since: how many, which, and from when on.
SELECT
    f.venue AS venue, f.symbol AS symbol, f.interval AS interval, f.key AS key, f.seen_at AS since,
    count() AS changed, min(h.timestamp) AS first, max(h.timestamp) AS last, min(h.published_at) AS published_at
FROM
(
    SELECT instrument_id, venue, symbol, interval, key, period_start, period_end, seen_at
    FROM analytics.archive_files FINAL
    WHERE status IN ('loaded', 'unverified') AND seen_at >= {since:DateTime64(3, 'UTC')}
        AND (venue, key) IN (SELECT venue, key FROM analytics.archive_files FINAL WHERE status = 'superseded')
) AS f
INNER JOIN
(
    SELECT instrument_id, interval, timestamp, published_at
    FROM
    (
        SELECT instrument_id, interval, timestamp, published_at, source FROM analytics.bars_history
        UNION ALL
        SELECT instrument_id, interval, timestamp, published_at, source FROM analytics.price_bars_history
    )
    WHERE published_at >= {since:DateTime64(3, 'UTC')} AND source IN ('archive_daily', 'archive_monthly', 'archive_unverified')
        AND instrument_id IN (SELECT instrument_id FROM analytics.archive_files FINAL WHERE status = 'superseded')
) AS h ON f.instrument_id = h.instrument_id AND f.interval = h.interval
WHERE h.timestamp >= f.period_start AND h.timestamp < f.period_end AND h.published_at >= f.seen_at
GROUP BY f.venue, f.symbol, f.interval, f.key, f.seen_at
ORDER BY venue, symbol, interval, key
