-- The contract with researchers: columns are only ever added.

CREATE OR REPLACE VIEW analytics.v_coverage
(
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    dataset LowCardinality(String) COMMENT 'Dataset, such as bars',
    interval LowCardinality(String) COMMENT 'Bar length, such as 1m',
    day Date COMMENT 'UTC day',
    expected UInt32 COMMENT 'Slots of the grid in that day that had closed',
    present UInt32 COMMENT 'Slots with a bar, one off the grid fills the slot it opens in',
    missing UInt32 COMMENT 'Slots without a bar',
    explained UInt32 COMMENT 'Missing slots that the verdict in gaps explains: venue_outage, no_trades, retention_lost, delisted or not_listed',
    rejected UInt32 COMMENT 'Rows kept in rejected_rows because they break a rule',
    off_grid UInt32 COMMENT 'Bars that do not open on the grid',
    revised UInt32 COMMENT 'Bars that were published in more than one version',
    frozen UInt32 COMMENT 'Bars with zero volume and one price: they are bars, and not missing',
    is_settled Bool COMMENT 'Whether the day had closed and the venue had answered for all of it',
    score Float64 COMMENT '0 to 100, the weighted sum of the four parts and at most completeness, rounded down to a tenth so that 100 is perfect',
    completeness Float64 COMMENT '0 to 100: present slots of the expected ones less not_due, whatever explains the others',
    finality Float64 COMMENT '0 to 100: bars fetched long enough after their close to be past revision',
    agreement Float64 COMMENT '0 to 100: bars neither rejected, revised nor off the grid',
    freshness Float64 COMMENT '0 to 100: how much of what had closed the venue was asked for and answered',
    computed_at DateTime64(3, 'UTC') COMMENT 'When this was computed',
    not_due UInt32 COMMENT 'Missing slots in which nobody could have traded: before a listing, after a delisting, outside what the universe keeps',
    is_sampled Bool COMMENT 'Whether the venue tells a part only: a slot is then a day that was answered, and how many rows are missing nobody knows'
)
AS SELECT
    venue, symbol, instrument_id, dataset, interval, day, expected, present, missing, explained, rejected, off_grid, revised,
    frozen, is_settled, score, completeness, finality, agreement, freshness, computed_at, not_due, is_sampled
FROM analytics.coverage FINAL
COMMENT 'How complete each day of each series is, and its quality score, as last computed.';
