-- The contract with researchers: columns are only ever added.
-- Two pins of one name at once are both recorded: the first one by (recorded_at, snapshot_id) has the name.

CREATE OR REPLACE VIEW analytics.v_snapshots
(
    name String COMMENT 'What people call it',
    snapshot_id UUID COMMENT 'One pin of that name',
    pinned_at DateTime64(3, 'UTC') COMMENT 'The instant: what was published until then belongs to it',
    datasets Array(String) COMMENT 'What it holds, such as bars',
    instruments Array(String) COMMENT 'Keys of its instruments, such as binance_spot.BTC-USDT',
    intervals Array(String) COMMENT 'Bar lengths it holds, empty when it holds no bars',
    range_start DateTime64(3, 'UTC') COMMENT 'Start of its range, inclusive',
    range_end DateTime64(3, 'UTC') COMMENT 'End of its range, exclusive',
    row_count UInt64 COMMENT 'Rows it holds',
    content String COMMENT 'SHA-256 of all its hashes, hexadecimal: equal contents mean equal rows, on any machine'
)
AS SELECT name, snapshot_id, pinned_at, datasets, instruments, intervals, range_start, range_end, row_count, content
FROM analytics.snapshots
WHERE event = 'pinned' AND snapshot_id NOT IN (SELECT snapshot_id FROM analytics.snapshots WHERE event = 'unpinned')
ORDER BY name, recorded_at, snapshot_id
LIMIT 1 BY name
COMMENT 'The snapshots there are, one row a name. What one holds is read through the as_of views at its pinned_at.';
