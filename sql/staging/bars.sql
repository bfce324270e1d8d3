-- Landing rows -> the current truth: of each key the closed, valid row of the highest version, if staging does not have it yet.
-- Ties within one version (a venue sending a bar twice in one answer) fall to the greater values, so a rerun decides alike.
INSERT INTO analytics.staging_bars
(
    instrument_id, venue, symbol, interval, timestamp, close_time, open, high, low, close, volume,
    quote_volume, contract_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume,
    source, batch_id, ingested_at, version
)
SELECT
    instrument_id, venue, symbol, interval, timestamp, close_time, open, high, low, close, volume,
    quote_volume, contract_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume,
    source, batch_id, ingested_at, version
FROM
(
    SELECT *
    FROM analytics.judged_bars
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND is_closed AND rule = ''
    ORDER BY instrument_id, interval, timestamp, version DESC, tuple(open, high, low, close, volume) DESC
    LIMIT 1 BY instrument_id, interval, timestamp
)
WHERE (instrument_id, interval, timestamp, version) NOT IN
(
    SELECT instrument_id, interval, timestamp, version
    FROM analytics.staging_bars
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
)
