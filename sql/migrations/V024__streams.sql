-- What streams leave beside their bars: connections, segments of what they said word for word, and minutes they did not tell.

CREATE TABLE IF NOT EXISTS analytics.stream_connections
(
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    feed LowCardinality(String) COMMENT 'Endpoint, such as binance_perp-market-stream',
    connection String COMMENT 'Identity of the connection, as in the names of journals',
    instruments UInt32 COMMENT 'Instruments that were asked for',
    messages UInt64 COMMENT 'Messages that came',
    unknown UInt64 COMMENT 'Messages that nobody here understands, they are in the segments',
    lost UInt64 COMMENT 'Messages that the journal did not take',
    opened_at DateTime64(3, 'UTC') COMMENT 'When it was opened',
    ended_at DateTime64(3, 'UTC') COMMENT 'When it ended',
    reason String COMMENT 'Why it ended'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(opened_at)
ORDER BY (venue, feed, opened_at)
COMMENT 'Connections to streams of venues that ended, and why.';

CREATE TABLE IF NOT EXISTS analytics.stream_segments
(
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    dataset LowCardinality(String) COMMENT 'Dataset the messages are of, such as bars',
    symbol LowCardinality(String) COMMENT 'Symbol as the path has it, such as BTC-USDT, _connection of what concerns none',
    hour DateTime64(3, 'UTC') COMMENT 'Hour the messages came in',
    connection String COMMENT 'Connection they came by',
    path String COMMENT 'Where the file is, below the place of segments',
    sha256 String COMMENT 'SHA-256 of the file as it is kept, hexadecimal',
    bytes UInt64 COMMENT 'Size of the file',
    messages UInt64 COMMENT 'Lines in it',
    first_at DateTime64(3, 'UTC') COMMENT 'When the first message came',
    last_at DateTime64(3, 'UTC') COMMENT 'When the last message came',
    packed_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (venue, dataset, symbol, hour, connection, sha256)
COMMENT 'Files of what streams said, word for word: one an hour, a symbol and a connection. Read with FINAL.';

CREATE TABLE IF NOT EXISTS analytics.stream_breaks
(
    instrument_id UInt32 DEFAULT CRC32(concat(venue, '.', replaceOne(symbol, '/', '-'))) COMMENT 'Instrument whose minutes were not told',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    window_start DateTime64(3, 'UTC') COMMENT 'First minute that the stream did not tell',
    window_end DateTime64(3, 'UTC') COMMENT 'The minute after the last one',
    reason String COMMENT 'Why: what ended the connection, or that no close came',
    status LowCardinality(String) COMMENT 'repaired: REST answered for it, left: it did not in time, and the tail asks again',
    row_count UInt64 COMMENT 'Bars that REST brought',
    noted_at DateTime64(3, 'UTC') COMMENT 'When we knew',
    ended_at DateTime64(3, 'UTC') COMMENT 'When REST had answered, or we gave up'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(window_start)
ORDER BY (instrument_id, window_start, noted_at)
COMMENT 'Minutes that a stream did not tell, why, and what REST said of them.';
