-- The hashes a snapshot was pinned with.
SELECT dataset, instrument, interval, month, row_count, hash_low, hash_high
FROM analytics.snapshot_hashes FINAL
WHERE snapshot_id = {snapshot_id:UUID}
