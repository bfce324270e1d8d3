-- Snapshots: a name, an instant, and what the rows were then. Nothing of the data is copied: history holds every version,
-- and no version published later may carry a publication time up to the instant (see research/snapshots.py).

CREATE TABLE IF NOT EXISTS analytics.snapshots
(
    name String COMMENT 'What people call it',
    snapshot_id UUID COMMENT 'One pin of that name: a name can be pinned again after it was unpinned',
    event LowCardinality(String) COMMENT 'begun (the instant is taken and publications are held after it), pinned (the hashes are complete) or unpinned',
    pinned_at DateTime64(3, 'UTC') COMMENT 'The instant: what was published until then belongs to it',
    datasets Array(String) COMMENT 'What it holds, such as bars',
    instruments Array(String) COMMENT 'Keys of its instruments, such as binance_spot.BTC-USDT',
    intervals Array(String) COMMENT 'Bar lengths it holds, empty when it holds no bars',
    range_start DateTime64(3, 'UTC') COMMENT 'Start of its range, inclusive',
    range_end DateTime64(3, 'UTC') COMMENT 'End of its range, exclusive',
    row_count UInt64 COMMENT 'Rows it holds, 0 until it is pinned',
    content String COMMENT 'SHA-256 of all its hashes, hexadecimal: equal contents mean equal rows, on any machine. Empty until it is pinned',
    recorded_at DateTime64(3, 'UTC') COMMENT 'When this row was written'
)
ENGINE = MergeTree
ORDER BY (name, recorded_at, snapshot_id)
COMMENT 'What happened to snapshots, one row an event. Nothing is deleted: an unpinned one leaves its trace.';

CREATE TABLE IF NOT EXISTS analytics.snapshot_hashes
(
    snapshot_id UUID COMMENT 'Snapshot it belongs to',
    dataset LowCardinality(String) COMMENT 'Dataset, such as bars',
    instrument LowCardinality(String) COMMENT 'Key of the instrument, such as binance_spot.BTC-USDT',
    interval LowCardinality(String) COMMENT 'Bar length, empty where there is none',
    month Date COMMENT 'First day of the month of the rows, UTC',
    row_count UInt64 COMMENT 'Rows of that month within the range',
    hash_low UInt64 COMMENT 'Sum over the rows of cityHash64(key, values, source), modulo 2^64',
    hash_high UInt64 COMMENT 'The same of xxHash64'
)
ENGINE = ReplacingMergeTree
ORDER BY (snapshot_id, dataset, instrument, interval, month)
COMMENT 'What the rows of a snapshot were, as hashes that do not depend on their order. Read with FINAL.';
