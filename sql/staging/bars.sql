-- Landing rows -> the current truth: closed, valid rows of a higher version than staging has of their key.
-- A version is never shared by two different rows, so which one stays does not depend on the order they are written in.
INSERT INTO analytics.staging_bars
(
    instrument_id, venue, symbol, interval, timestamp, close_time, open, high, low, close, volume,
    quote_volume, contract_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume,
    source, batch_id, ingested_at, version
)
SELECT
    l.instrument_id, l.venue, l.symbol, l.interval, l.timestamp, l.close_time, l.open, l.high, l.low, l.close, l.volume,
    l.quote_volume, l.contract_volume, l.trade_count, l.taker_buy_base_volume, l.taker_buy_quote_volume,
    l.source, l.batch_id, l.ingested_at, l.version
FROM analytics.judged_bars AS l
LEFT JOIN
(
    SELECT instrument_id, interval, timestamp, max(version) AS version
    FROM analytics.staging_bars
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, interval, timestamp
) AS staged
ON l.instrument_id = staged.instrument_id AND l.interval = staged.interval AND l.timestamp = staged.timestamp
WHERE l.instrument_id IN {instruments:Array(UInt32)}
    AND l.timestamp >= {start:DateTime64(3, 'UTC')} AND l.timestamp < {end:DateTime64(3, 'UTC')}
    AND l.is_closed AND l.rule = ''
    AND l.version > staged.version
-- Collapsing within the insert costs a third of it and is done again by FINAL and by merges.
SETTINGS optimize_on_insert = 0
