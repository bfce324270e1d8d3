-- Ids that lie between two known trades and that nobody told, as ranges: trades we lack. Where a venue counts its trades only.
SELECT
    venue, symbol, previous AS first, following AS last, toUInt64(last_missing - first_missing + 1) AS rows,
    concat(trade_kind, ' ids ', toString(first_missing), if(last_missing > first_missing, concat(' to ', toString(last_missing)), '')) AS what
FROM analytics.trade_holes(
    instruments = {instruments:Array(UInt32)}, start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
ORDER BY venue, symbol, first
