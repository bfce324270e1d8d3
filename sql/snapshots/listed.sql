-- The snapshots there are, or the one of a name.
SELECT name, snapshot_id, pinned_at, datasets, instruments, intervals, range_start, range_end, row_count, content
FROM analytics.v_snapshots
WHERE empty({names:Array(String)}) OR name IN {names:Array(String)}
ORDER BY name
