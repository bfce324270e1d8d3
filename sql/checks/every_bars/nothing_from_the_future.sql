-- Bars that had not closed yet when the answer with them came: an open bar, or a clock that is wrong. A venue's clock may be ahead
-- of ours by what was observed.
SELECT b.venue AS venue, b.symbol AS symbol, b.interval AS interval, min(b.timestamp) AS first, max(b.timestamp) AS last, count() AS rows
FROM {database:Identifier}.{current:Identifier} AS b FINAL
LEFT JOIN (SELECT venue, clock_skew_ms FROM analytics.venues FINAL) AS v ON b.venue = v.venue
WHERE b.instrument_id IN {instruments:Array(UInt32)}
    AND b.timestamp >= {start:DateTime64(3, 'UTC')} AND b.timestamp < {end:DateTime64(3, 'UTC')}
    AND b.timestamp + toIntervalMillisecond(b.step_ms)
    > b.ingested_at + toIntervalMillisecond(greatest(0, v.clock_skew_ms) + {clock_slack_ms:UInt32})
GROUP BY venue, symbol, interval
ORDER BY venue, symbol, interval
