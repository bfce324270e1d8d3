-- Bars of one instrument for a DataFrame, oldest first.
SELECT
    timestamp, open, high, low, close, volume, quote_volume, trade_count,
    taker_buy_base_volume, taker_buy_quote_volume, source
FROM analytics.v_bars
WHERE instrument_id = {instrument_id:UInt32} AND interval = {interval:String}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
ORDER BY timestamp
