-- Instruments whose metadata contradicts their bars or itself: bars of one never listed or outside of its listing, two instruments or
-- another base or quote under one id, a perpetual without a contract size, one that was gone for a day or longer and is listed
-- again: the same coin, or another of its name? Where the universe says that a name changed its coin or unit, its bars may be older than
-- the venue's listed_at; where it says when a name was first listed, somebody has looked at what is listed again.
SELECT venue, symbol, what, first, last, rows
FROM
(
    SELECT b.venue AS venue, b.symbol AS symbol, 'bars of an instrument that no venue was seen to list' AS what,
        min(b.timestamp) AS first, max(b.timestamp) AS last, count() AS rows
    FROM analytics.bars AS b
    WHERE b.instrument_id IN {instruments:Array(UInt32)}
        AND b.timestamp >= {start:DateTime64(3, 'UTC')} AND b.timestamp < {end:DateTime64(3, 'UTC')}
        AND b.instrument_id NOT IN (SELECT instrument_id FROM analytics.instruments)
    GROUP BY venue, symbol
    UNION ALL
    SELECT b.venue, b.symbol, if(b.timestamp < i.from, 'bars before listed_at', 'bars after delisted_at') AS what,
        min(b.timestamp), max(b.timestamp), count()
    FROM analytics.bars AS b
    INNER JOIN
    (
        SELECT instrument_id, coalesce(listed_at, toDateTime64('1970-01-01 00:00:00', 3, 'UTC')) AS from,
            coalesce(delisted_at, toDateTime64('2200-01-01 00:00:00', 3, 'UTC')) AS until
        FROM analytics.v_instruments
        WHERE instrument_id IN {instruments:Array(UInt32)}
    ) AS i ON b.instrument_id = i.instrument_id
    WHERE b.instrument_id IN {instruments:Array(UInt32)}
        AND b.timestamp >= {start:DateTime64(3, 'UTC')} AND b.timestamp < {end:DateTime64(3, 'UTC')}
        -- A bar opens at the grid before the moment of listing.
        AND (b.timestamp < toStartOfDay(i.from) OR b.timestamp >= i.until)
        AND NOT (b.timestamp < i.from AND has({declared_ids:Array(UInt32)}, b.instrument_id))
    GROUP BY b.venue, b.symbol, what
    UNION ALL
    SELECT argMax(venue, valid_from), argMax(symbol, valid_from), 'another venue, symbol, base or quote under one id',
        min(valid_from), max(valid_from), toUInt64(uniqExact(venue, symbol, base, quote)) AS rows
    FROM analytics.instruments
    WHERE instrument_id IN {instruments:Array(UInt32)}
    GROUP BY instrument_id
    HAVING rows > 1
    UNION ALL
    SELECT venue, symbol, 'listed again: say relisted_at in the universe if it is another coin, listed_at if it is the same',
        gone_at, valid_from, toUInt64(1)
    FROM
    (
        SELECT instrument_id, venue, symbol, status, valid_from,
            lagInFrame(status) OVER versions AS status_before, lagInFrame(valid_from) OVER versions AS gone_at
        FROM analytics.v_instruments_history
        WHERE instrument_id IN {instruments:Array(UInt32)}
        WINDOW versions AS (PARTITION BY instrument_id ORDER BY valid_from ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
    )
    WHERE status_before = 'not_listed' AND status != 'not_listed' AND valid_from >= gone_at + INTERVAL 1 DAY
        AND NOT has({first_listed_ids:Array(UInt32)}, instrument_id)
        AND NOT has(arrayMap((id, edge) -> (id, fromUnixTimestamp64Milli(edge, 'UTC') > gone_at
                AND fromUnixTimestamp64Milli(edge, 'UTC') <= valid_from),
            {declared_ids:Array(UInt32)}, {declared_ms:Array(Int64)}), (instrument_id, 1))
    UNION ALL
    SELECT venue, symbol, 'a perpetual without a contract size', valid_from, valid_from, toUInt64(1)
    FROM analytics.v_instruments
    WHERE instrument_id IN {instruments:Array(UInt32)} AND endsWith(venue, '_perp') AND NOT (coalesce(contract_size, 0) > 0)
)
ORDER BY venue, symbol, what
