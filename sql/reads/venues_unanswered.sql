-- Datasets of venues that failed and have answered nothing since. An instrument that a venue does not list is no fault of the venue.
SELECT
    venue, dataset, countIf(is_failed AND recorded_at > answered_at) AS windows,
    minIf(recorded_at, is_failed AND recorded_at > answered_at) AS since, argMaxIf(error, recorded_at, is_failed) AS error
FROM
(
    SELECT
        venue, dataset, recorded_at, error, status = 'failed' AND NOT startsWith(error, 'UnknownSymbol') AS is_failed,
        maxIf(recorded_at, status = 'complete') OVER (PARTITION BY venue, dataset) AS answered_at
    FROM analytics.ingest_batches
    WHERE recorded_at >= {now:DateTime64(3, 'UTC')} - toIntervalSecond({recent_s:UInt32})
)
GROUP BY venue, dataset
HAVING windows > 0
ORDER BY venue, dataset
