-- Every version of what venues say of instruments, and the versions that held at one moment.
-- The contract with researchers: columns are only ever added.

CREATE OR REPLACE VIEW analytics.v_instruments_history
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue that lists it',
    symbol String COMMENT 'BASE/QUOTE',
    venue_symbol String COMMENT 'The name the venue itself uses',
    base LowCardinality(String) COMMENT 'Asset that is bought',
    quote LowCardinality(String) COMMENT 'Asset that prices are in',
    settle LowCardinality(String) COMMENT 'Asset that profit is paid in, empty for spot',
    status LowCardinality(String) COMMENT 'The status in the words of the venue, or not_listed when the venue no longer lists it',
    is_active Bool COMMENT 'Whether it can be traded',
    tick_size Nullable(Float64) COMMENT 'Smallest price step, in quote',
    lot_size Nullable(Float64) COMMENT 'Smallest size step, in base for spot, in contracts for perpetuals',
    contract_size Nullable(Float64) COMMENT 'Base units in one contract, NULL for spot',
    min_notional Nullable(Float64) COMMENT 'Smallest order value, in quote',
    listed_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the venue says it was listed',
    delisted_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the venue says it ends or ended, NULL if it never said',
    valid_from DateTime64(3, 'UTC') COMMENT 'When this version was first observed',
    funding_rate_cap Nullable(Float64) COMMENT 'Highest funding rate of one settlement, as a fraction, NULL if the venue does not list it',
    funding_rate_floor Nullable(Float64) COMMENT 'Lowest funding rate of one settlement, as a fraction, NULL if the venue does not list it',
    funding_interval_hours Nullable(Float64) COMMENT 'Hours between settlements of funding as listed then, NULL if the venue does not list it',
    valid_to Nullable(DateTime64(3, 'UTC')) COMMENT 'When the next version was first observed, NULL for the current one'
)
AS SELECT
    instrument_id, venue, symbol, venue_symbol, base, quote, settle, status, is_active, tick_size, lot_size,
    contract_size, min_notional, listed_at, delisted_at, valid_from, funding_rate_cap, funding_rate_floor, funding_interval_hours,
    leadInFrame(toNullable(valid_from)) OVER (
        PARTITION BY instrument_id ORDER BY valid_from ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS valid_to
FROM analytics.instruments FINAL
COMMENT 'What each venue said of each instrument, one row a version, from valid_from until just before valid_to.';

CREATE OR REPLACE VIEW analytics.instruments_as_of
AS SELECT *
FROM analytics.v_instruments_history
WHERE valid_from <= {as_of:DateTime64(3, 'UTC')} AND (valid_to IS NULL OR valid_to > {as_of:DateTime64(3, 'UTC')})
COMMENT 'What each venue said of each instrument at one moment: instruments_as_of(as_of = ...). Nothing for what was not yet observed.';
