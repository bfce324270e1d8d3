-- How late it is at each venue, at the least: no window is answered before all of it has closed by the venue's own clock.
SELECT venue, max(window_end) AS at_least
FROM analytics.ingest_batches
WHERE status = 'complete' AND dataset IN {datasets:Array(String)} AND recorded_at > {since:DateTime64(3, 'UTC')}
GROUP BY venue
