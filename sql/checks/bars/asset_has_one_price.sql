-- Series of one asset that are further than apart_share from the median of all series of it, for apart_s of a day or longer: on every
-- venue, spot and perpetual. 1000X, 1MX, kX and X1000 are so many X. Dollars and coins that promise one are one money, any other quote is
-- compared with itself. More than half of the series that agree name the odd one; of two that differ nobody knows which is wrong, and
-- both are told. Recorded: perpetuals and spot, and one spot and another, are within 1 % of each other at any moment of 2022 to 2026, the
-- median of a day within 0.06 %. Nothing on record is told; nearest are ETH/USDT of Binance's first month, 10 % below Coinbase for 128
-- minutes of 2017-09-04 (6 % all day), and BTC/USDC on 2023-03-11, when USDC had lost its dollar, 10 % above BTC/USD for 138 minutes.
WITH
    assets AS
    (
        SELECT
            instrument_id, concat(venue, '.', symbol) AS name, splitByChar('/', symbol)[1] AS base, splitByChar('/', symbol)[2] AS quote,
            extract(base, '^(10{3,6})[^0-9]') AS thousands, extract(base, '^[A-Z]+(10{3,6})$') AS thousands_behind,
            multiIf(thousands != '', toFloat64OrZero(thousands), thousands_behind != '', toFloat64OrZero(thousands_behind),
                match(base, '^1M[A-Z]'), 1e6, match(base, '^k[A-Z]'), 1e3, 1) AS unit,
            multiIf(thousands != '', substring(base, length(thousands) + 1),
                thousands_behind != '', substring(base, 1, length(base) - length(thousands_behind)),
                unit = 1e6, substring(base, 3), unit = 1e3, substring(base, 2), base) AS asset,
            if(quote IN ('USD', 'USDT', 'USDC', 'USDE', 'USD1', 'USDD', 'USDP', 'BUSD', 'FDUSD', 'TUSD', 'PYUSD', 'DAI'), 'USD', quote) AS money
        FROM (SELECT DISTINCT instrument_id, venue, symbol FROM analytics.bars
            WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')})
    ),
    compared AS
    (
        SELECT instrument_id, asset, money, unit FROM assets
        WHERE (asset, money) IN  -- one that stands alone is not even read
            (SELECT asset, money FROM assets GROUP BY asset, money
                HAVING count() > 1 AND countIf(instrument_id IN {instruments:Array(UInt32)}) > 0)
    ),
    (SELECT CAST(groupArray((instrument_id, name)), 'Map(UInt32, String)') FROM assets) AS names,
    log(1 + {apart_share:Float64}) AS apart
SELECT
    extract(names[one.1], '^[^.]+') AS venue, substring(names[one.1], length(venue) + 2) AS symbol, interval,
    min(timestamp) AS first, max(timestamp) AS last, count() AS rows,
    concat('times ', toString(toFloat32(exp(quantileExact(away)))), ' (', toString(toFloat32(exp(min(away)))), ' to ',
        toString(toFloat32(exp(max(away)))), ') of the median of ',
        arrayStringConcat(arraySort(arrayMap(id -> names[id], arrayFilter(id -> id != one.1, groupUniqArrayArray(prices.1)))), ', ')) AS what
FROM
(
    SELECT interval, step_ms, timestamp, prices, one,
        length(prices) AS n, sorted[intDiv(n + 1, 2)] AS low, sorted[intDiv(n, 2) + 1] AS high,
        -- Half here and half there: each is held against the other half.
        one.2 - multiIf(high - low <= apart, (low + high) / 2, one.2 <= low, high, low) AS away
    FROM
    (
        SELECT interval, any(step_ms) AS step_ms, timestamp, groupArray((b.instrument_id, log(close / unit))) AS prices,
            arraySort(prices.2) AS sorted
        FROM analytics.v_bars AS b
        INNER JOIN compared ON b.instrument_id = compared.instrument_id
        WHERE b.instrument_id IN (SELECT instrument_id FROM compared)
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY asset, money, interval, timestamp
        HAVING max(log(close / unit)) - min(log(close / unit)) > apart
    )
    ARRAY JOIN prices AS one
    WHERE one.1 IN {instruments:Array(UInt32)} AND abs(away) > apart
)
GROUP BY one.1, interval, toDate(timestamp)
HAVING rows * any(step_ms) >= {apart_s:UInt32} * 1000
ORDER BY venue, symbol, interval, first
