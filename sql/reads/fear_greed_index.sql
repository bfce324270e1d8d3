-- Fear & Greed of [start, end) for a frame, oldest first. Columns are bound by name, those not wanted as `nothing`.
WITH false AS nothing
SELECT {key:Identifier}, timestamp, source, {c0:Identifier}, {c1:Identifier}, {c2:Identifier}, {c3:Identifier}
FROM analytics.v_fear_greed
WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
ORDER BY timestamp
