-- The contract with readers: columns are only ever added.

CREATE OR REPLACE VIEW analytics.v_ingest_batches
(
    day Date COMMENT 'UTC day on which the venue was asked',
    venue LowCardinality(String) COMMENT 'Venue asked',
    dataset LowCardinality(String) COMMENT 'Dataset asked for, such as bars',
    windows UInt64 COMMENT 'Windows asked for',
    windows_failed UInt64 COMMENT 'Those that got no usable answer',
    windows_limited UInt64 COMMENT 'Those of the failed ones that a rate limit or ban stopped',
    rows_in UInt64 COMMENT 'Rows that came',
    requests UInt64 COMMENT 'HTTP requests made, retries included',
    weight UInt64 COMMENT 'Cost of them in units of the rate limit of the venue',
    retries UInt64 COMMENT 'Requests that had to be repeated',
    waited_s Float64 COMMENT 'Seconds spent waiting for the rate budget and between retries, of all threads together'
)
AS SELECT
    toDate(recorded_at) AS day, venue, dataset, count() AS windows, countIf(status = 'failed') AS windows_failed,
    countIf(status = 'failed' AND startsWith(error, 'VenueLimited')) AS windows_limited, sum(row_count) AS rows_in,
    sum(b.requests) AS requests, sum(b.weight) AS weight, sum(b.retries) AS retries, sum(b.waited_s) AS waited_s
FROM (SELECT * FROM analytics.ingest_batches WHERE status NOT IN ('unserved', 'given') LIMIT 1 BY batch_id) AS b
GROUP BY day, venue, dataset
COMMENT 'What was asked of each venue on each day, what it cost and what failed, from the ledger.';
