-- Minutes whose trades are all there and do not make the bar that the venue made of them: open, high, low, close to the digit,
-- volume (all of it, and what takers bought) but for the order of the sum, and the number of trades. All there: the venue answered
-- for the minute, and no id is missing in it or next to it. Of trades that have names nobody knows which one of a moment came
-- first: the open and the close are any of the first and the last moment.
WITH
    holes AS
    (
        SELECT instrument_id AS its_id, groupArray((toStartOfMinute(previous), toStartOfMinute(following))) AS spans
        FROM analytics.trade_holes(
            instruments = {instruments:Array(UInt32)}, start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
        GROUP BY its_id
    ),
    answered AS
    (
        SELECT instrument_id AS its_id, groupArray((answered_from, answered_until)) AS spans
        FROM analytics.answered_windows(
            dataset = 'trades', instruments = {instruments:Array(UInt32)},
            start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
        GROUP BY its_id
    ),
    made AS
    (
        SELECT
            instrument_id, toStartOfMinute(timestamp) AS minute, count() AS told,
            argMin(price, (timestamp, trade_id)) AS open, max(price) AS high, min(price) AS low, argMax(price, (timestamp, trade_id)) AS close,
            sum(quantity) AS volume, sumIf(quantity, side = 'buy') AS bought, sum(trade_count) AS trades,
            groupArrayIf((timestamp, price), trade_uuid != '') AS named,
            arrayMap(t -> t.2, arrayFilter(t -> t.1 = arrayMin(x -> x.1, named), named)) AS opens,
            arrayMap(t -> t.2, arrayFilter(t -> t.1 = arrayMax(x -> x.1, named), named)) AS closes
        FROM analytics.trades FINAL
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, minute
    ),
    compared AS
    (
        SELECT
            b.venue AS venue, b.symbol AS symbol, b.instrument_id AS instrument_id, b.timestamp AS minute,
            [toFloat64(b.open), b.high, b.low, b.close, b.volume, ifNull(b.taker_buy_base_volume, m.bought), toFloat64(ifNull(b.trade_count, m.trades))] AS bar,
            if(m.told = 0, [b.open, b.high, b.low, b.close, 0., 0., 0.], [if(has(m.opens, b.open), b.open, m.open), m.high, m.low, if(has(m.closes, b.close), b.close, m.close), m.volume, m.bought, toFloat64(m.trades)]) AS rebuilt,
            arrayFilter((n, x, y) -> abs(x - y) > if(n IN ('volume', 'taker_buy_base_volume'), {volume_share:Float64} * abs(x), 0.),
                ['open', 'high', 'low', 'close', 'volume', 'taker_buy_base_volume', 'trade_count'], bar, rebuilt) AS differs
        FROM
        (
            SELECT * FROM analytics.v_bars
            WHERE instrument_id IN {instruments:Array(UInt32)} AND interval = '1m' AND timestamp = toStartOfMinute(timestamp)
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        ) AS b
        INNER JOIN answered AS a ON b.instrument_id = a.its_id
        LEFT JOIN made AS m ON b.instrument_id = m.instrument_id AND b.timestamp = m.minute
        LEFT JOIN holes AS h ON b.instrument_id = h.its_id
        WHERE arrayExists(s -> s.1 <= b.timestamp AND s.2 >= b.timestamp + INTERVAL 1 MINUTE, a.spans)
            AND NOT arrayExists(s -> s.1 <= b.timestamp AND s.2 >= b.timestamp, h.spans)
    )
SELECT
    venue, symbol, minute AS first, minute AS last, toUInt64(1) AS rows,
    concat(arrayStringConcat(differs, ', '), ': the bar ', toString(bar), ', its trades ', toString(rebuilt)) AS what
FROM compared
WHERE notEmpty(differs)
ORDER BY venue, symbol, first
