-- The rules of a valid Fear & Greed value, once: staging takes the rows whose rule is empty, rejected_rows the others.

CREATE OR REPLACE VIEW analytics.judged_fear_greed_index
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'alternative_me',
    symbol LowCardinality(String) COMMENT 'FEAR/GREED',
    interval LowCardinality(String) COMMENT '1d',
    timestamp DateTime64(3, 'UTC') COMMENT 'Start of the day, exactly as the source gave it',
    value UInt8 COMMENT '0 (extreme fear) to 100 (extreme greed), without meaning where a rule is broken',
    classification String COMMENT 'The word of the source for the value',
    source LowCardinality(String) COMMENT 'rest',
    batch_id UUID COMMENT 'Batch that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the source had come',
    version UInt64 COMMENT 'Finality rank of the source (top byte), ingested_at in milliseconds (41 bits), hash of the values (15 bits)',
    is_final Bool COMMENT 'Whether the day was over when we asked',
    rule String COMMENT 'First rule the row breaks, empty when it is valid',
    row_hash UInt64 COMMENT 'Hash of the values as they came, for rejected_rows',
    row String COMMENT 'The values as they came, JSON, for rejected_rows'
)
AS SELECT
    instrument_id, venue, symbol, interval, timestamp,
    toUInt8(assumeNotNull(landed.value)) AS value, classification, source, batch_id, ingested_at,
    bitShiftLeft(toUInt64(transform(source, ['archive', 'rest', 'ws'], [3, 2, 1], 0)), 56)
        + bitShiftLeft(toUInt64(toUnixTimestamp64Milli(ingested_at)), 15)
        + bitAnd(cityHash64(tuple(landed.value, classification)), 32767) AS version,
    is_closed AS is_final,
    multiIf(
        landed.value IS NULL, 'required_columns_are_not_null',
        assumeNotNull(landed.value) NOT BETWEEN 0 AND 100, 'value_is_between_0_and_100',
        ''
    ) AS rule,
    cityHash64(tuple(landed.value, classification, is_closed, metadata)) AS row_hash,
    toJSONString(map('value', toString(landed.value), 'classification', classification, 'metadata', metadata)) AS row
FROM analytics.landing_fear_greed_index AS landed
COMMENT 'landing_fear_greed_index with the version of each row and the first rule it breaks. Internal: the one place where the rules stand.';
