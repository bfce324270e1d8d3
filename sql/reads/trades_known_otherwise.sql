-- Hours of an instrument in [start, end) of which landing has trades with numbers, or, if is_numbered, such without: both tell of
-- the same trades, and nothing but a number says which is which.
SELECT count() AS trades, min(timestamp) AS first, max(timestamp) AS last
FROM analytics.landing_trades
WHERE instrument_id = {instrument:UInt32} AND (trade_uuid LIKE '~%') = {is_numbered:Bool}
    AND timestamp >= toStartOfHour({start:DateTime64(3, 'UTC')}) AND timestamp < toDateTime64(toStartOfHour({end:DateTime64(3, 'UTC')}) + INTERVAL 1 HOUR, 6, 'UTC')
