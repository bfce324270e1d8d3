-- Rows of a period that break a rule, and which.
SELECT dataset, concat(venue, '.', replaceOne(symbol, '/', '-')) AS instrument, interval, timestamp, rule, row, source,
    toString(batch_id) AS batch_id, rejected_at, count() OVER () AS total
FROM analytics.rejected_rows FINAL
WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
ORDER BY dataset, venue, symbol, interval, timestamp, batch_id, row_hash
LIMIT {rows_max:UInt32}
