-- Days on which the last trade of bars was far from the mark or index price of the same instrument and bar, for long altogether.
-- A venue values positions by them, so they follow its market: of 7,217 recorded hours of BTC/USDT closes part by 0.1 % at most.
-- Mark before index where both are there. What has no bars of trades beside it is not held against anything.
SELECT
    venue, symbol, concat(price, '_', length) AS interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows,
    concat('the last trade is up to ', toString(round(100 * (exp(max(apart)) - 1), 1)), ' % from the ', price, ' price, at ',
        formatDateTime(argMax(timestamp, apart), '%F %R'), ' UTC ', toString(argMax(traded, apart)), ' against ', toString(argMax(valued, apart))) AS what
FROM
(
    SELECT
        p.venue AS venue, p.symbol AS symbol, p.price AS price, p.length AS length, p.step_ms AS step_ms, p.timestamp AS timestamp,
        p.close AS valued, b.close AS traded, abs(log(b.close / p.close)) AS apart
    FROM
    (
        SELECT
            instrument_id, venue, symbol, substringIndex(interval, '_', 1) AS price, substringIndex(interval, '_', -1) AS length,
            price_bars.step_ms AS step_ms, timestamp, close
        FROM analytics.price_bars FINAL
        WHERE instrument_id IN {instruments:Array(UInt32)} AND NOT startsWith(interval, 'premium_')
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        ORDER BY price = 'mark' DESC
        LIMIT 1 BY instrument_id, length, timestamp
    ) AS p
    INNER JOIN
    (
        SELECT instrument_id, interval, timestamp, close
        FROM analytics.v_bars
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    ) AS b ON p.instrument_id = b.instrument_id AND p.length = b.interval AND p.timestamp = b.timestamp
    WHERE abs(log(b.close / p.close)) > log(1 + {apart_share:Float64})
)
GROUP BY venue, symbol, price, length, toDate(timestamp)
HAVING sum(step_ms) >= 1000 * toInt64({apart_s:UInt32})
ORDER BY venue, symbol, interval, first
