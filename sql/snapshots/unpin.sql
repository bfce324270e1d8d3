-- Note that a snapshot is no more. Its rows stay in history, its hashes in snapshot_hashes.
INSERT INTO analytics.snapshots
(name, snapshot_id, event, pinned_at, datasets, instruments, intervals, range_start, range_end, row_count, content, recorded_at)
SELECT
    name, snapshot_id, 'unpinned', pinned_at, datasets, instruments, intervals, range_start, range_end, row_count, content,
    now64(3, 'UTC')
FROM analytics.snapshots
WHERE snapshot_id = {snapshot_id:UUID} AND event = 'pinned'
LIMIT 1
