-- Ids that nobody told, between trades of which both are known: the one place that says what a hole of trades is.
-- Minutes whose ids are all there, and follow those of the minute before, are passed over whole; only the others are looked at
-- trade by trade, where they landed, so that a trade that broke a rule is no hole. Parameters: instruments, start, end. The
-- trades next to the range are looked for within a day.

CREATE OR REPLACE VIEW analytics.trade_holes
AS
WITH
    minutes AS
    (
        SELECT
            *,
            lagInFrame(minute) OVER its AS minute_before, lagInFrame(high) OVER its AS high_before, row_number() OVER its > 1 AS has_before
        FROM
        (
            SELECT
                instrument_id, trade_kind, toStartOfMinute(timestamp) AS minute,
                min(trade_id) AS low, max(trade_id) AS high, count() AS trades
            FROM analytics.trades
            WHERE instrument_id IN {instruments:Array(UInt32)} AND trade_uuid = ''
                AND timestamp >= {start:DateTime64(3, 'UTC')} - INTERVAL 1 DAY AND timestamp < {end:DateTime64(3, 'UTC')} + INTERVAL 1 DAY
            GROUP BY instrument_id, trade_kind, minute
        )
        WINDOW its AS (PARTITION BY instrument_id, trade_kind ORDER BY minute ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    ),
    doubtful AS
    (
        SELECT instrument_id, trade_kind, minute, arrayJoin(if(has_before, [minute, minute_before], [minute])) AS looked_at
        FROM minutes
        WHERE high - low + 1 != trades OR (has_before AND low != high_before + 1)
    )
SELECT
    instrument_id, any(venue) AS venue, any(symbol) AS symbol, trade_kind, id_before + 1 AS first_missing, trade_id - 1 AS last_missing,
    any(time_before) AS previous, any(timestamp) AS following
FROM
(
    SELECT
        instrument_id, venue, symbol, trade_kind, minute, timestamp, trade_id,
        lagInFrame(trade_id) OVER its AS id_before, lagInFrame(timestamp) OVER its AS time_before, row_number() OVER its > 1 AS has_before
    FROM
    (
        SELECT instrument_id, venue, symbol, trade_kind, timestamp, trade_id, toStartOfMinute(timestamp) AS looked_at
        FROM analytics.landing_trades
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} - INTERVAL 1 DAY AND timestamp < {end:DateTime64(3, 'UTC')} + INTERVAL 1 DAY
            AND (instrument_id, trade_kind, toStartOfMinute(timestamp)) IN (SELECT instrument_id, trade_kind, looked_at FROM doubtful)
    ) AS l
    INNER JOIN doubtful AS d
        ON l.instrument_id = d.instrument_id AND l.trade_kind = d.trade_kind AND l.looked_at = d.looked_at
    WINDOW its AS (PARTITION BY instrument_id, trade_kind, minute ORDER BY trade_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WHERE has_before AND trade_id > id_before + 1
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND time_before < {end:DateTime64(3, 'UTC')}
GROUP BY instrument_id, trade_kind, id_before, trade_id
COMMENT 'Ranges of ids that are missing between two trades that are known, with the times of those. Internal.';
