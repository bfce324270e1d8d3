-- Make a snapshot visible, unless its name has been taken meanwhile. The hashes are there already.
INSERT INTO analytics.snapshots
(name, snapshot_id, event, pinned_at, datasets, instruments, intervals, range_start, range_end, row_count, content, recorded_at)
SELECT
    name, snapshot_id, 'pinned', pinned_at, datasets, instruments, intervals, range_start, range_end,
    {row_count:UInt64}, {content:String}, now64(3, 'UTC')
FROM analytics.snapshots
WHERE snapshot_id = {snapshot_id:UUID} AND event = 'begun' AND pinned_at = {pinned_at:DateTime64(3, 'UTC')}
    AND name NOT IN (SELECT name FROM analytics.v_snapshots)
LIMIT 1
