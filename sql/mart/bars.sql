-- History -> the current version of each bar, where bars does not have it yet. Also makes up for a publication cut short.
INSERT INTO analytics.bars
(
    instrument_id, venue, symbol, interval, timestamp, close_time, open, high, low, close, volume,
    quote_volume, contract_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume,
    source, batch_id, ingested_at, version, published_at
)
SELECT
    instrument_id, venue, symbol, interval, timestamp, close_time, open, high, low, close, volume,
    quote_volume, contract_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume,
    source, batch_id, ingested_at, version, published_at
FROM analytics.bars_history FINAL
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND (instrument_id, interval, timestamp, version) NOT IN
    (
        SELECT instrument_id, interval, timestamp, version
        FROM analytics.bars
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
ORDER BY version DESC
LIMIT 1 BY instrument_id, interval, timestamp
