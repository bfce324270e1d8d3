-- Ids that were told with different values: a trade never changes, so one of them is wrong. All are in landing; published is the
-- first that came, or what the venue said when it was asked for that trade alone. Times are compared to the millisecond, which is
-- what REST tells of a trade whose file tells microseconds.
SELECT
    any(venue) AS venue, any(symbol) AS symbol, min(timestamp) AS first, max(timestamp) AS last, count() AS rows,
    concat(trade_kind, ' ', toString(trade_id), ': ', arrayStringConcat(arraySort(groupUniqArray(
        concat(side, ' ', ifNull(toString(quantity), 'NULL'), ' at ', ifNull(toString(price), 'NULL'), ' on ', toString(timestamp)))), ' and ')) AS what
FROM analytics.landing_trades
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} - INTERVAL 1 DAY AND timestamp < {end:DateTime64(3, 'UTC')} + INTERVAL 1 DAY
    AND (instrument_id, trade_kind, trade_id) IN
    (
        SELECT instrument_id, trade_kind, trade_id
        FROM
        (
            SELECT instrument_id, trade_kind, trade_id, cityHash64(toUnixTimestamp64Milli(timestamp), first_id, last_id, side, price, quantity) AS told
            FROM analytics.landing_trades
            WHERE instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} - INTERVAL 1 DAY AND timestamp < {end:DateTime64(3, 'UTC')} + INTERVAL 1 DAY
        )
        GROUP BY instrument_id, trade_kind, trade_id
        HAVING min(told) != max(told)
    )
GROUP BY instrument_id, trade_kind, trade_id
HAVING last >= {start:DateTime64(3, 'UTC')} AND first < {end:DateTime64(3, 'UTC')}
ORDER BY venue, symbol, first
