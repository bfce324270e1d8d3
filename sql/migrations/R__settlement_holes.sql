-- Where settlements of funding may be missing, by the grid that is observed: the one place that says what a hole is.
-- Between two settlements: where they are farther apart than is usual of the three gaps before and of the three after, so that
-- a change of interval is no hole. A row without `previous` is the time before the first settlement, one without `following`
-- the time after the last: how far those reach is for the reader to say. Parameter: instruments.

CREATE OR REPLACE VIEW analytics.settlement_holes
AS
WITH settled AS
(
    SELECT instrument_id, venue, symbol, timestamp
    FROM analytics.funding_rates FINAL
    WHERE instrument_id IN {instruments:Array(UInt32)} AND rate_type = 'regular'
)
SELECT instrument_id, venue, symbol, toNullable(before_it) AS previous, toNullable(timestamp) AS following,
    toNullable(toInt64(greatest(before_s, after_s))) AS usual_s
FROM
(
    SELECT
        instrument_id, venue, symbol, before_it, timestamp, gap_s,
        quantileExactLow(0.5)(gap_s) OVER (
            PARTITION BY instrument_id ORDER BY timestamp ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING) AS before_s,
        quantileExactLow(0.5)(gap_s) OVER (
            PARTITION BY instrument_id ORDER BY timestamp ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING) AS after_s
    FROM
    (
        SELECT
            instrument_id, venue, symbol, timestamp,
            lagInFrame(timestamp) OVER (
                PARTITION BY instrument_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS before_it,
            dateDiff('second', before_it, timestamp) AS gap_s,
            row_number() OVER (PARTITION BY instrument_id ORDER BY timestamp) AS place
        FROM settled
    )
    WHERE place > 1
)
WHERE before_s > 0 AND after_s > 0 AND gap_s > before_s AND gap_s > after_s
UNION ALL
SELECT instrument_id, venue, symbol,
    if(is_first, NULL, last_time) AS previous, if(is_first, first_time, NULL) AS following,
    if(length(gaps) < 3, NULL, arraySort(arraySlice(gaps, if(is_first, 1, -3), 3))[2]) AS usual_s
FROM
(
    SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, min(timestamp) AS first_time, max(timestamp) AS last_time,
        arrayPopFront(arrayDifference(arraySort(groupArray(toInt64(toUnixTimestamp(timestamp)))))) AS gaps
    FROM settled
    GROUP BY instrument_id
)
ARRAY JOIN [true, false] AS is_first
COMMENT 'Where settlements of funding may be missing by the observed grid, before the first and after the last too. Internal.';
