-- Rows outside the window their batch asked for: a venue or a parser that answers another question than the one asked.
-- A month on either side is looked at too, because a row that strayed is not where its run is.
SELECT venue, symbol, series, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM
(
    SELECT venue, symbol, {series:Identifier} AS series, timestamp, batch_id
    FROM {database:Identifier}.{landing:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} - INTERVAL 31 DAY AND timestamp < {end:DateTime64(3, 'UTC')} + INTERVAL 31 DAY
) AS l
INNER JOIN
(
    SELECT batch_id, window_start, window_end
    FROM analytics.ingest_batches
    WHERE dataset = {dataset:String} AND status IN ('complete', 'given') AND instrument_id IN {instruments:Array(UInt32)}
        AND window_start < {end:DateTime64(3, 'UTC')} AND window_end > {start:DateTime64(3, 'UTC')}
    LIMIT 1 BY batch_id
) AS b ON l.batch_id = b.batch_id
WHERE timestamp < window_start OR timestamp >= window_end
GROUP BY venue, symbol, series
ORDER BY venue, symbol, series
