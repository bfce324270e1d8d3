-- Staging -> history: only rows whose values differ from the last published version of their key. A rerun adds nothing.
-- The server says when, and never up to the instant of a snapshot, whatever its clock does: see research/snapshots.py.
INSERT INTO analytics.bars_history
(
    instrument_id, venue, symbol, interval, timestamp, close_time, open, high, low, close, volume,
    quote_volume, contract_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume,
    source, batch_id, ingested_at, version, published_at
)
SELECT
    instrument_id, venue, symbol, interval, timestamp, close_time, open, high, low, close, volume,
    quote_volume, contract_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume,
    source, batch_id, ingested_at, version,
    greatest(now64(3, 'UTC'), (SELECT max(pinned_at) + INTERVAL 1 MILLISECOND FROM analytics.snapshots)) AS published_at
FROM analytics.staging_bars AS staged FINAL
LEFT ANTI JOIN
(
    SELECT
        instrument_id, interval, timestamp,
        argMax(
            cityHash64(tuple(close_time, open, high, low, close, volume, quote_volume, contract_volume, trade_count,
                taker_buy_base_volume, taker_buy_quote_volume)), version) AS content
    FROM analytics.bars_history
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, interval, timestamp
) AS published
ON staged.instrument_id = published.instrument_id
    AND staged.interval = published.interval
    AND staged.timestamp = published.timestamp
    AND cityHash64(tuple(staged.close_time, staged.open, staged.high, staged.low, staged.close, staged.volume, staged.quote_volume,
        staged.contract_volume, staged.trade_count, staged.taker_buy_base_volume, staged.taker_buy_quote_volume)) = published.content
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
-- Collapsing within the insert costs a third of it and is done again by FINAL and by merges.
SETTINGS optimize_on_insert = 0
