-- Per instrument: what events of a dataset there are, what is missing of their ids, what was rejected, how old it is.
SELECT
    answered.venue AS venue, answered.symbol AS symbol, {dataset:String} AS interval,
    present.first AS first, present.last AS last, present.rows AS rows, missing.missing AS missing,
    rejected.rows AS rejected,
    failed.windows AS failed,
    answered.until AS answered_until,
    dateDiff('second', answered.until, {now:DateTime64(3, 'UTC')}) AS age_s
FROM
(
    SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, max(told_until) AS until
    FROM analytics.told_windows(dataset = {dataset:String}, instruments = {instruments:Array(UInt32)})
    GROUP BY instrument_id
) AS answered
LEFT JOIN
(
    SELECT instrument_id, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
    FROM {database:Identifier}.{current:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
    GROUP BY instrument_id
) AS present ON answered.instrument_id = present.instrument_id
LEFT JOIN
(
    SELECT instrument_id, sum(g.missing) AS missing
    FROM analytics.v_gaps AS g
    WHERE dataset = {dataset:String} AND is_open AND instrument_id IN {instruments:Array(UInt32)}
    GROUP BY instrument_id
) AS missing ON answered.instrument_id = missing.instrument_id
LEFT JOIN
(
    SELECT instrument_id, count() AS rows
    FROM analytics.rejected_rows FINAL
    WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
    GROUP BY instrument_id
) AS rejected ON answered.instrument_id = rejected.instrument_id
LEFT JOIN
(
    SELECT instrument_id, count() AS windows
    FROM analytics.ingest_batches
    WHERE dataset = {dataset:String} AND status = 'failed' AND instrument_id IN {instruments:Array(UInt32)}
    GROUP BY instrument_id
) AS failed ON answered.instrument_id = failed.instrument_id
ORDER BY venue, symbol
