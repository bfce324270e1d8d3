-- How far a gap at the edge of [start, end) may reach: to the last bar before and the first bar after it, of every series.
SELECT
    min(if(p.bars_before > 0, p.last_before, toDateTime64('2009-01-03 00:00:00', 3, 'UTC'))) AS reach_from,
    max(if(p.bars_after > 0, p.first_after, toDateTime64('2100-01-01 00:00:00', 3, 'UTC'))) AS reach_until
FROM
(
    SELECT DISTINCT instrument_id, interval
    FROM analytics.ingest_batches
    WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
) AS a
LEFT JOIN
(
    SELECT
        instrument_id, interval,
        countIf(timestamp < {start:DateTime64(3, 'UTC')}) AS bars_before,
        maxIf(timestamp, timestamp < {start:DateTime64(3, 'UTC')}) AS last_before,
        countIf(timestamp >= {end:DateTime64(3, 'UTC')}) AS bars_after,
        minIf(timestamp, timestamp >= {end:DateTime64(3, 'UTC')}) AS first_after
    FROM {database:Identifier}.{current:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
    GROUP BY instrument_id, interval
) AS p ON a.instrument_id = p.instrument_id AND a.interval = p.interval
