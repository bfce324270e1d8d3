-- Staging -> history: only rows whose values differ from the last published version of their key. A rerun adds nothing.
-- The server says when, and never up to the instant of a snapshot, whatever its clock does: see research/snapshots.py.
INSERT INTO analytics.fear_greed_index_history
(instrument_id, venue, symbol, interval, timestamp, value, classification, source, batch_id, ingested_at, version, published_at)
SELECT
    instrument_id, venue, symbol, interval, timestamp, value, classification, source, batch_id, ingested_at, version,
    greatest(now64(3, 'UTC'), (SELECT max(pinned_at) + INTERVAL 1 MILLISECOND FROM analytics.snapshots)) AS published_at
FROM analytics.staging_fear_greed_index AS staged FINAL
LEFT ANTI JOIN
(
    SELECT instrument_id, interval, timestamp, argMax(cityHash64(tuple(value, classification)), version) AS content
    FROM analytics.fear_greed_index_history
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, interval, timestamp
) AS published
ON staged.instrument_id = published.instrument_id
    AND staged.interval = published.interval
    AND staged.timestamp = published.timestamp
    AND cityHash64(tuple(staged.value, staged.classification)) = published.content
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
SETTINGS optimize_on_insert = 0
