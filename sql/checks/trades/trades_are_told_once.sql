-- Hours of which both trades with numbers and trades without are published, which are the same trades: a file without numbers came
-- first, and the venue was asked later. Whoever adds them up has them twice.
SELECT
    any(venue) AS venue, any(symbol) AS symbol, min(timestamp) AS first, max(timestamp) AS last, countIf(trade_uuid LIKE '~%') AS rows,
    concat(toString(countIf(trade_uuid LIKE '~%')), ' without a number beside ', toString(countIf(trade_uuid = '')), ' with one') AS what
FROM analytics.trades FINAL
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
GROUP BY instrument_id, toStartOfHour(timestamp)
HAVING countIf(trade_uuid LIKE '~%') > 0 AND countIf(trade_uuid = '') > 0
ORDER BY venue, symbol, first
