-- Liquidations later than their answer: the clock of the venue is not known better than that of its answer, and some slack.
SELECT venue, symbol, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.liquidations AS t FINAL
LEFT JOIN (SELECT venue AS v, clock_skew_ms FROM analytics.venues FINAL) AS c ON t.venue = c.v
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND timestamp > addMilliseconds(ingested_at, greatest(clock_skew_ms, 0) + {clock_slack_ms:Int64})
GROUP BY venue, symbol
ORDER BY venue, symbol
