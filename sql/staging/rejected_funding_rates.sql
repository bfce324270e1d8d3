-- Landing rows that break a rule -> rejected_rows, with the rule's name and the row as it stands.
INSERT INTO analytics.rejected_rows
(dataset, instrument_id, venue, symbol, interval, timestamp, rule, row_hash, row, source, batch_id, ingested_at, rejected_at)
SELECT
    'funding_rates', instrument_id, venue, symbol, '', timestamp, rule,
    cityHash64(tuple(rate_type, timestamp_raw, rate, predicted_rate, mark_price, index_price, interest_rate, estimated_settle_price,
        next_rate, next_timestamp, previous_rate, previous_timestamp, metadata)) AS row_hash,
    toJSONString(map(
        'rate_type', toString(rate_type), 'rate', toString(rate), 'mark_price', toString(mark_price),
        'timestamp_raw', toString(timestamp_raw), 'unreadable', toString(unreadable), 'metadata', metadata)) AS row,
    source, batch_id, ingested_at, now64(3, 'UTC')
FROM analytics.judged_funding_rates
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND is_settled AND rule != ''
    AND (instrument_id, timestamp, batch_id, row_hash) NOT IN
    (
        SELECT instrument_id, timestamp, batch_id, row_hash
        FROM analytics.rejected_rows
        WHERE dataset = 'funding_rates' AND instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
