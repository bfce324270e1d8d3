-- Take the instant of a snapshot: now, and no earlier than anything that can be read, whatever the clock of the server did.
INSERT INTO analytics.snapshots
(name, snapshot_id, event, pinned_at, datasets, instruments, intervals, range_start, range_end, row_count, content, recorded_at)
SELECT
    {name:String}, {snapshot_id:UUID}, 'begun',
    greatest(
        now64(3, 'UTC'),
        (SELECT max(pinned_at) FROM analytics.snapshots),
        {published_until:DateTime64(3, 'UTC')}
    ),
    {datasets:Array(String)}, {instruments:Array(String)}, {intervals:Array(String)},
    {start:DateTime64(3, 'UTC')}, {end:DateTime64(3, 'UTC')}, 0, '', now64(3, 'UTC')
