-- Since when a reading rule holds, so that what was read as of before is read the same. No row means from the beginning: a
-- warehouse that has published no settlement yet has nothing to keep. A rerun drops what a kill left half filled.

DROP TABLE IF EXISTS analytics.reading_rules;
CREATE TABLE IF NOT EXISTS analytics.reading_rules
(
    rule LowCardinality(String) COMMENT 'no_interval_across_a_hole: interval_hours of funding_rates_as_of is NULL across a hole',
    since DateTime64(3, 'UTC') COMMENT 'Reads as of an earlier moment go by what held then' CODEC(ZSTD(1))
)
ENGINE = MergeTree
ORDER BY rule
COMMENT 'Since when reads follow a rule that came later than the data. Internal.'
AS SELECT 'no_interval_across_a_hole' AS rule, now64(3, 'UTC') AS since
FROM (SELECT count() AS published FROM analytics.funding_rates_history) WHERE published > 0;
