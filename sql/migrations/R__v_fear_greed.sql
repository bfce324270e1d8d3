-- The contract with researchers: columns are only ever added.

CREATE OR REPLACE VIEW analytics.v_fear_greed
(
    day Date COMMENT 'The day, UTC',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day, exactly as the source gave it',
    timestamp_unix Int64 COMMENT 'Start of the day, milliseconds since 1970',
    value UInt8 COMMENT '0 (extreme fear) to 100 (extreme greed)',
    classification LowCardinality(String) COMMENT 'The word of the source for the value: Extreme Fear, Fear, Neutral, Greed or Extreme Greed',
    source LowCardinality(String) COMMENT 'rest',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the source had come',
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read this version',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row'
)
AS SELECT
    toDate(timestamp) AS day, timestamp, timestamp_unix, value, classification, source, ingested_at, published_at, batch_id
FROM analytics.fear_greed_index FINAL
COMMENT 'The Fear and Greed Index of alternative.me, one row a closed day, current version. Days the source does not have are absent.';
