-- Landing rows that break a rule -> rejected_rows, with the rule's name and the row as it stands.
INSERT INTO analytics.rejected_rows
(dataset, instrument_id, venue, symbol, interval, timestamp, rule, row_hash, row, source, batch_id, ingested_at, rejected_at)
SELECT
    'fear_greed_index', instrument_id, venue, symbol, interval, timestamp, rule,
    cityHash64(tuple(value, classification, is_closed, metadata)) AS row_hash,
    toJSONString(map('value', toString(value), 'classification', classification, 'metadata', metadata)) AS row,
    source, batch_id, ingested_at, now64(3, 'UTC')
FROM analytics.judged_fear_greed_index
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND is_closed AND rule != ''
    AND (instrument_id, interval, timestamp, batch_id, row_hash) NOT IN
    (
        SELECT instrument_id, interval, timestamp, batch_id, row_hash
        FROM analytics.rejected_rows
        WHERE dataset = 'fear_greed_index' AND instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
