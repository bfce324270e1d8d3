-- Fear & Greed: what there is, which days the source was asked for and does not have, what was rejected, how old it is.
SELECT
    {venue:String} AS venue, {symbol:String} AS symbol, '1d' AS interval,
    present.first AS first, present.last AS last, present.rows AS rows,
    toInt64(answered.days) - toInt64(present.rows) AS missing,
    rejected.rows AS rejected, failed.windows AS failed, answered.until AS answered_until,
    dateDiff('second', answered.until, {now:DateTime64(3, 'UTC')}) AS age_s
FROM
(
    SELECT max(answered_until) AS until, sum(dateDiff('day', answered_from, answered_until)) AS days, count() AS spans
    FROM analytics.answered_windows(
        dataset = 'fear_greed_index', instruments = {instruments:Array(UInt32)},
        start = toDateTime64('2009-01-03 00:00:00', 3, 'UTC'), end = toDateTime64('2100-01-01 00:00:00', 3, 'UTC'))
) AS answered
CROSS JOIN (SELECT min(timestamp) AS first, max(timestamp) AS last, count() AS rows FROM analytics.v_fear_greed) AS present
CROSS JOIN
(
    SELECT count() AS rows
    FROM analytics.rejected_rows FINAL
    WHERE dataset = 'fear_greed_index' AND instrument_id IN {instruments:Array(UInt32)}
) AS rejected
CROSS JOIN
(
    SELECT count() AS windows
    FROM analytics.ingest_batches
    WHERE dataset = 'fear_greed_index' AND status = 'failed' AND instrument_id IN {instruments:Array(UInt32)}
) AS failed
WHERE answered.spans > 0
