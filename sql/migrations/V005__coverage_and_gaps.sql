-- What should be there, what is, and why the rest is not: derived from the ledger, the bars and the listings, never typed in.
-- Every statement can run again: a migration that was killed half-way starts over from its first statement.

CREATE TABLE IF NOT EXISTS analytics.coverage
(
    dataset LowCardinality(String) COMMENT 'Dataset, such as bars',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length, such as 1m',
    day Date COMMENT 'UTC day',
    expected UInt32 COMMENT 'Slots of the grid in that day that had closed',
    present UInt32 COMMENT 'Slots with a bar, one off the grid fills the slot it opens in',
    missing UInt32 COMMENT 'Slots without a bar',
    explained UInt32 COMMENT 'Missing slots whose verdict in gaps is neither we_missed nor unknown',
    rejected UInt32 COMMENT 'Rows kept in rejected_rows because they break a rule',
    off_grid UInt32 COMMENT 'Bars that do not open on the grid',
    revised UInt32 COMMENT 'Bars that were published in more than one version',
    frozen UInt32 COMMENT 'Bars with zero volume and one price: they are bars, and not missing',
    is_settled Bool COMMENT 'Whether the day had closed and the venue had answered for all of it',
    score Float64 COMMENT '0 to 100, the weighted sum of the four parts, rounded down to a tenth so that 100 is perfect',
    completeness Float64 COMMENT '0 to 100: present and explained slots of the expected ones',
    finality Float64 COMMENT '0 to 100: bars fetched long enough after their close to be past revision',
    agreement Float64 COMMENT '0 to 100: bars neither rejected, revised nor off the grid',
    freshness Float64 COMMENT '0 to 100: how much of what had closed the venue was asked for and answered',
    computed_at DateTime64(3, 'UTC') COMMENT 'When this was computed'
)
ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYear(day)
ORDER BY (dataset, instrument_id, interval, day)
COMMENT 'How complete each day of each series is, and its quality score. Read with FINAL, or through v_coverage.';

CREATE TABLE IF NOT EXISTS analytics.gaps
(
    dataset LowCardinality(String) COMMENT 'Dataset, such as bars',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length, such as 1m',
    gap_start DateTime64(3, 'UTC') COMMENT 'First missing slot of the grid',
    gap_end DateTime64(3, 'UTC') COMMENT 'First slot that is not missing any more, exclusive end',
    missing UInt32 COMMENT 'Missing slots',
    verdict LowCardinality(String) COMMENT 'not_listed, delisted, venue_outage, no_trades, retention_lost, we_missed or unknown',
    evidence String COMMENT 'What the verdict rests on, one sentence' CODEC(ZSTD(3)),
    figures String COMMENT 'The numbers behind the sentence, JSON' CODEC(ZSTD(3)),
    frozen UInt32 COMMENT 'Bars with zero volume and one price directly before it: the silence began that much earlier',
    first_seen DateTime64(3, 'UTC') COMMENT 'When it was first found',
    last_seen DateTime64(3, 'UTC') COMMENT 'When it was last looked at and still there',
    attempts UInt32 COMMENT 'How often healing asked the venue again',
    next_attempt_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When healing asks again, NULL when the verdict stands',
    is_open Bool COMMENT 'Whether it is still missing',
    version UInt64 COMMENT 'Milliseconds since 1970 of the judgement: the highest is the truth'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (dataset, instrument_id, interval, gap_start)
COMMENT 'The gap ledger: every range that should have bars and has none, why, and what was tried. Read with FINAL, or through v_gaps.';

CREATE TABLE IF NOT EXISTS analytics.gap_candidates
(
    judgement UUID COMMENT 'The one judgement that wrote and reads the row',
    dataset LowCardinality(String) COMMENT 'Dataset, such as bars',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length, such as 1m',
    step_ms Int64 COMMENT 'Bar length in milliseconds',
    gap_start DateTime64(3, 'UTC') COMMENT 'First missing slot',
    gap_end DateTime64(3, 'UTC') COMMENT 'Exclusive end',
    answered Bool COMMENT 'Whether complete batches answer all of it',
    first_bar Nullable(DateTime64(3, 'UTC')) COMMENT 'First bar ever of the series',
    last_bar Nullable(DateTime64(3, 'UTC')) COMMENT 'Last bar ever of the series',
    listed_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Listing date by the venue',
    delisted_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Delisting date by the venue',
    asked_from DateTime64(3, 'UTC') COMMENT 'Start of the first window ever asked for',
    found_at DateTime64(3, 'UTC') COMMENT 'When it was found'
)
ENGINE = MergeTree
ORDER BY (judgement, instrument_id, interval, gap_start)
TTL toDateTime(found_at) + INTERVAL 1 DAY
COMMENT 'What one judgement of gaps found before it decided. Internal, forgotten after a day.';
