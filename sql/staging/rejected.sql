-- Landing rows that break a rule -> rejected_rows, with the rule's name and the row as it stands.
INSERT INTO analytics.rejected_rows
(dataset, instrument_id, venue, symbol, interval, timestamp, rule, row_hash, row, source, batch_id, ingested_at, rejected_at)
SELECT
    {dataset:String}, instrument_id, venue, symbol, if({series:String} = 'interval', toString({series:Identifier}), ''), timestamp, rule,
    row_hash, row, source, batch_id, ingested_at, now64(3, 'UTC')
FROM {database:Identifier}.{judged:Identifier}
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND is_final AND rule != ''
    AND (instrument_id, toDateTime64(timestamp, 3, 'UTC'), batch_id, row_hash) NOT IN  -- a batch is of one interval
    (
        SELECT instrument_id, timestamp, batch_id, row_hash
        FROM analytics.rejected_rows
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
