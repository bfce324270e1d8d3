-- Settlements of a time that had not come when the answer with them came: a rate still predicted, or a clock that is wrong. A venue's
-- clock may be ahead of ours by what was observed.
SELECT f.venue AS venue, f.symbol AS symbol, f.rate_type AS rate_type, min(f.timestamp) AS first, max(f.timestamp) AS last, count() AS rows
FROM analytics.v_funding AS f
LEFT JOIN (SELECT venue, clock_skew_ms FROM analytics.venues FINAL) AS v ON f.venue = v.venue
WHERE f.instrument_id IN {instruments:Array(UInt32)}
    AND f.timestamp >= {start:DateTime64(3, 'UTC')} AND f.timestamp < {end:DateTime64(3, 'UTC')}
    AND f.timestamp_raw > f.ingested_at + toIntervalMillisecond(greatest(0, v.clock_skew_ms) + {clock_slack_ms:UInt32})
GROUP BY venue, symbol, rate_type
ORDER BY venue, symbol, rate_type
