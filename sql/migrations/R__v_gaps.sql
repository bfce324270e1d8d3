-- The contract with researchers: columns are only ever added.

CREATE OR REPLACE VIEW analytics.v_gaps
(
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    dataset LowCardinality(String) COMMENT 'Dataset, such as bars',
    interval LowCardinality(String) COMMENT 'Bar length, such as 1m',
    gap_start DateTime64(3, 'UTC') COMMENT 'First missing slot of the grid',
    gap_end DateTime64(3, 'UTC') COMMENT 'First slot that is not missing any more, exclusive end',
    missing UInt32 COMMENT 'Missing slots',
    verdict LowCardinality(String) COMMENT 'not_listed, delisted, venue_outage, no_trades, retention_lost, rejected, suspicious, we_missed or unknown',
    evidence String COMMENT 'What the verdict rests on, one sentence',
    figures String COMMENT 'The numbers behind the sentence, JSON',
    frozen UInt32 COMMENT 'Bars with zero volume and one price directly before it: the silence began that much earlier',
    first_seen DateTime64(3, 'UTC') COMMENT 'When it was first found',
    last_seen DateTime64(3, 'UTC') COMMENT 'When it was last looked at and still there',
    attempts UInt32 COMMENT 'How often healing asked the venue again',
    next_attempt_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When healing asks again, NULL when the verdict stands',
    is_open Bool COMMENT 'Whether it is still missing, those that were filled stay on record'
)
AS SELECT
    venue, symbol, instrument_id, dataset, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts, next_attempt_at, is_open
FROM analytics.gaps FINAL
COMMENT 'Every gap with its verdict and the evidence. Open ones are missing today, the others were filled.';
