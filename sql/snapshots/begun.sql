-- The instant that `begin` took.
SELECT max(pinned_at) AS pinned_at
FROM analytics.snapshots
WHERE snapshot_id = {snapshot_id:UUID} AND event = 'begun'
