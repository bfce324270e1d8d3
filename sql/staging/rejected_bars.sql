-- Landing rows that break a rule -> rejected_rows, with the rule's name and the row as it stands.
INSERT INTO analytics.rejected_rows
(dataset, instrument_id, venue, symbol, interval, timestamp, rule, row_hash, row, source, batch_id, ingested_at, rejected_at)
SELECT
    'bars', instrument_id, venue, symbol, interval, timestamp, rule,
    cityHash64(tuple(close_time, open, high, low, close, volume, quote_volume, contract_volume, trade_count,
        taker_buy_base_volume, taker_buy_quote_volume, is_closed, metadata)) AS row_hash,
    toJSONString(map(
        'open', toString(open), 'high', toString(high), 'low', toString(low), 'close', toString(close),
        'volume', toString(volume), 'quote_volume', toString(quote_volume), 'metadata', metadata)) AS row,
    source, batch_id, ingested_at, now64(3, 'UTC')
FROM analytics.judged_bars
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND is_closed AND rule != ''
    AND (instrument_id, interval, timestamp, batch_id, row_hash) NOT IN
    (
        SELECT instrument_id, interval, timestamp, batch_id, row_hash
        FROM analytics.rejected_rows
        WHERE dataset = 'bars' AND instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
