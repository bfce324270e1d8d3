-- History -> the current version of each bar: whatever is newer than what bars has. Also makes up for a publication cut short.
INSERT INTO analytics.bars
(
    instrument_id, venue, symbol, interval, timestamp, close_time, open, high, low, close, volume,
    quote_volume, contract_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume,
    source, batch_id, ingested_at, version, published_at
)
SELECT
    h.instrument_id, h.venue, h.symbol, h.interval, h.timestamp, h.close_time, h.open, h.high, h.low, h.close, h.volume,
    h.quote_volume, h.contract_volume, h.trade_count, h.taker_buy_base_volume, h.taker_buy_quote_volume,
    h.source, h.batch_id, h.ingested_at, h.version, h.published_at
FROM analytics.bars_history AS h
LEFT JOIN
(
    SELECT instrument_id, interval, timestamp, max(version) AS version
    FROM analytics.bars
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, interval, timestamp
) AS current
ON h.instrument_id = current.instrument_id AND h.interval = current.interval AND h.timestamp = current.timestamp
WHERE h.instrument_id IN {instruments:Array(UInt32)}
    AND h.timestamp >= {start:DateTime64(3, 'UTC')} AND h.timestamp < {end:DateTime64(3, 'UTC')}
    AND h.version > current.version
