-- The contract with researchers: columns are only ever added, and are those of v_fear_greed.

CREATE OR REPLACE VIEW analytics.fear_greed_index_as_of
AS SELECT
    toDate(timestamp) AS day, timestamp, toUnixTimestamp64Milli(timestamp) AS timestamp_unix, value, classification, source,
    ingested_at, published_at, batch_id
FROM analytics.fear_greed_index_history
WHERE published_at <= {as_of:DateTime64(3, 'UTC')}
    AND instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
ORDER BY instrument_id, interval, timestamp, version DESC, published_at
LIMIT 1 BY instrument_id, interval, timestamp
COMMENT 'v_fear_greed as it was at one moment: fear_greed_index_as_of(as_of, instruments, start, end), the range half-open.';
