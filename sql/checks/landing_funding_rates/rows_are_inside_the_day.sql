-- Rows outside the window their batch asked for: a venue or a parser that answers another question than the one asked.
-- A month on either side is looked at too, because a row that strayed is not where its run is.
SELECT l.venue AS venue, l.symbol AS symbol, l.rate_type AS rate_type, min(l.timestamp) AS first, max(l.timestamp) AS last, count() AS rows
FROM analytics.landing_funding_rates AS l
INNER JOIN
(
    SELECT batch_id, window_start, window_end
    FROM analytics.ingest_batches
    WHERE dataset = 'funding_rates' AND status = 'complete' AND instrument_id IN {instruments:Array(UInt32)}
        AND window_start < {end:DateTime64(3, 'UTC')} AND window_end > {start:DateTime64(3, 'UTC')}
    LIMIT 1 BY batch_id
) AS b ON l.batch_id = b.batch_id
WHERE l.instrument_id IN {instruments:Array(UInt32)}
    AND l.timestamp >= {start:DateTime64(3, 'UTC')} - INTERVAL 31 DAY AND l.timestamp < {end:DateTime64(3, 'UTC')} + INTERVAL 31 DAY
    AND (l.timestamp < b.window_start OR l.timestamp >= b.window_end)
GROUP BY venue, symbol, rate_type
ORDER BY venue, symbol, rate_type
