-- Per instrument and interval: what there is, what is missing by the last judgement, what was rejected, how old it is.
SELECT
    answered.venue AS venue, answered.symbol AS symbol, answered.interval AS interval,
    present.first AS first, present.last AS last, present.rows AS rows,
    judged.missing AS missing,
    rejected.rows AS rejected,
    failed.windows AS failed,
    answered.until AS answered_until,
    dateDiff('second', answered.until, {now:DateTime64(3, 'UTC')}) AS age_s
FROM
(
    SELECT instrument_id, any(b.venue) AS venue, any(b.symbol) AS symbol, interval,
        max(window_end) AS asked_until,
        if(countIf(status IN ('complete', 'given')) = 0, asked_until, maxIf(window_end, status IN ('complete', 'given'))) AS until
    FROM analytics.ingest_batches AS b
    WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
    GROUP BY instrument_id, interval
) AS answered
LEFT JOIN
(
    SELECT instrument_id, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
    FROM {database:Identifier}.{current:Identifier} FINAL
    WHERE instrument_id IN {instruments:Array(UInt32)}
    GROUP BY instrument_id, interval
) AS present ON answered.instrument_id = present.instrument_id AND answered.interval = present.interval
LEFT JOIN
(
    SELECT instrument_id, interval, sum(v.missing) - sum(v.not_due) AS missing
    FROM analytics.v_coverage AS v
    WHERE dataset = 'bars' AND instrument_id IN {instruments:Array(UInt32)}
    GROUP BY instrument_id, interval
) AS judged ON answered.instrument_id = judged.instrument_id AND answered.interval = judged.interval
LEFT JOIN
(
    SELECT instrument_id, interval, count() AS rows
    FROM analytics.rejected_rows FINAL
    WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
    GROUP BY instrument_id, interval
) AS rejected ON answered.instrument_id = rejected.instrument_id AND answered.interval = rejected.interval
LEFT JOIN
(
    SELECT instrument_id, interval, count() AS windows
    FROM analytics.ingest_batches
    WHERE dataset = {dataset:String} AND status = 'failed' AND instrument_id IN {instruments:Array(UInt32)}
    GROUP BY instrument_id, interval
) AS failed ON answered.instrument_id = failed.instrument_id AND answered.interval = failed.interval
ORDER BY venue, symbol, interval
