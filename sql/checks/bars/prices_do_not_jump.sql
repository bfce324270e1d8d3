-- Bars that do not touch the one before them: the whole bar lies jump_factor times above its high, or below its low. Markets trade
-- at every price in between, so a crash is one long bar and each bar begins where the last one ended: of 2.3 million recorded pairs
-- the furthest apart are ETH/USDT on 2017-08-22, 8 % (its closes and opens part by 94 % that day, within bars that touch), and SUI/USDT
-- of 2025-10-10, which rose by 388 % within a minute, does not part at all. Across a hole a price may also walk, drift a day by the root of the days:
-- BTC/USD rose by 334 % in 103 of them. What is told of is another coin, unit or market under one name: a page that is not of
-- this symbol comes back to the old level, a redenomination or a relisting does not. Silent where the universe says so.
WITH
    log({jump_factor:Float64}) AS wide,
    -- A day on either side, and beyond it the nearest bar of a series that has none there.
    lonely_before AS
    (
        SELECT instrument_id, interval FROM analytics.bars
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} - INTERVAL 1 DAY AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, interval
        HAVING min(timestamp) >= {start:DateTime64(3, 'UTC')}
    ),
    lonely_after AS
    (
        SELECT instrument_id, interval FROM analytics.bars
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')} + INTERVAL 1 DAY
        GROUP BY instrument_id, interval
        HAVING max(timestamp) < {end:DateTime64(3, 'UTC')}
    ),
    edges AS
    (
        SELECT instrument_id, interval, max(timestamp) FROM analytics.bars
        WHERE (instrument_id, interval) IN lonely_before
            AND timestamp >= {start:DateTime64(3, 'UTC')} - toIntervalDay({look_days:UInt32}) AND timestamp < {start:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, interval
        UNION ALL
        SELECT instrument_id, interval, min(timestamp) FROM analytics.bars
        WHERE (instrument_id, interval) IN lonely_after
            AND timestamp >= {end:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')} + toIntervalDay({look_days:UInt32})
        GROUP BY instrument_id, interval
    ),
    jumps AS
    (
        SELECT
            venue, symbol, interval, timestamp, before, place, close_before, open, log(open / close_before) AS moved,
            greatest(0, dateDiff('millisecond', before, timestamp) - step_ms) / 86400000 AS hole_days
        FROM
        (
            SELECT
                instrument_id, venue, symbol, interval, step_ms, timestamp, open, high, low,
                row_number() OVER series AS place,
                lagInFrame(timestamp) OVER series AS before, lagInFrame(high) OVER series AS high_before,
                lagInFrame(low) OVER series AS low_before, lagInFrame(close) OVER series AS close_before
            FROM
            (
                SELECT instrument_id, venue, symbol, interval, step_ms, timestamp, open, high, low, close
                FROM analytics.v_bars
                WHERE instrument_id IN {instruments:Array(UInt32)}
                    AND timestamp >= {start:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
                    AND timestamp < {end:DateTime64(3, 'UTC')} + INTERVAL 1 DAY
                UNION ALL
                SELECT instrument_id, venue, symbol, interval, step_ms, timestamp, open, high, low, close
                FROM analytics.v_bars
                WHERE (instrument_id, interval, timestamp) IN edges
            )
            WINDOW series AS (PARTITION BY instrument_id, interval ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
        )
        WHERE place > 1
            AND greatest(log(low / high_before), log(low_before / high)) > wide + {drift:Float64} * sqrt(hole_days)
            AND NOT arrayExists((id, edge) -> id = instrument_id
                    AND edge > toUnixTimestamp64Milli(before) AND edge <= toUnixTimestamp64Milli(timestamp),
                {declared_ids:Array(UInt32)}, {declared_ms:Array(Int64)})
    ),
    -- One that undoes the one before it ends a range; a third one begins the next.
    paired AS
    (
        SELECT *, row_number() OVER (PARTITION BY venue, symbol, interval, chain ORDER BY timestamp) % 2 AS is_first
        FROM
        (
            SELECT *, sum(NOT undoes) OVER (PARTITION BY venue, symbol, interval ORDER BY timestamp) AS chain,
                leadInFrame(undoes) OVER ahead AS is_undone, leadInFrame(before) OVER ahead AS last_before_undone,
                leadInFrame(place) OVER ahead AS place_undone, leadInFrame(open) OVER ahead AS open_undone
            FROM
            (
                SELECT *, abs(moved + lagInFrame(moved) OVER (PARTITION BY venue, symbol, interval ORDER BY timestamp
                    ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) < least(wide, abs(moved) / 2) AS undoes
                FROM jumps
            )
            WINDOW ahead AS (PARTITION BY venue, symbol, interval ORDER BY timestamp ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING)
        )
    )
SELECT
    venue, symbol, interval, if(is_undone, timestamp, before) AS first, if(is_undone, last_before_undone, timestamp) AS last,
    toUInt64(if(is_undone, place_undone - place, 1)) AS rows,
    concat(
        'times ', toString(toFloat32(exp(moved))), ', from ', toString(toFloat32(close_before)), ' to ', toString(toFloat32(open)),
        multiIf(is_undone, concat(', and back to ', toString(toFloat32(open_undone)), ': prices of another symbol or market?'),
            abs(log10(exp(moved)) - round(log10(exp(moved)))) < 0.05, ', a power of ten: redenominated?',
            hole_days > 1, ': another coin under the same name?', ': another coin, unit or market?'),
        if(hole_days > 0, concat(' After ', toString(round(hole_days, 2)), ' days without a bar.'), '')) AS what
FROM paired
WHERE is_first AND first < {end:DateTime64(3, 'UTC')} AND last >= {start:DateTime64(3, 'UTC')}
ORDER BY venue, symbol, interval, first
