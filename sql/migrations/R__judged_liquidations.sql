-- The rules of valid liquidations, once: staging takes the rows whose rule is empty, rejected_rows the others.

CREATE OR REPLACE VIEW analytics.judged_liquidations
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(3, 'UTC') COMMENT 'When the venue closed the position, as it gave it',
    price_kind LowCardinality(String) COMMENT 'What price is: order, the limit of the order by which the venue closed it',
    liquidation_id UInt64 COMMENT 'Hash of all that came of it: the venue does not number them',
    order_side LowCardinality(String) COMMENT 'Side of the order that closed the position: buy or sell, empty if what came says neither',
    position_side LowCardinality(String) COMMENT 'The position that was closed: long or short, empty if what came says neither',
    price Nullable(Float64) COMMENT 'Price of the kind that price_kind names, in quote, NULL if what came is not a number',
    average_price Nullable(Float64) COMMENT 'Average price at which the order was filled, in quote, NULL if the venue does not say',
    quantity Nullable(Float64) COMMENT 'Amount of the order, in base, NULL if what came is not a number',
    filled_quantity Nullable(Float64) COMMENT 'Part of it that was filled, in base, NULL if the venue does not say',
    is_sampled Bool COMMENT 'Whether the venue told a part of its liquidations only: the latest of a second',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing',
    source LowCardinality(String) COMMENT 'archive_daily, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come',
    version UInt64 COMMENT 'Finality rank of the source (top byte), ingested_at in milliseconds (41 bits), hash of the values (15 bits)',
    is_final Bool COMMENT 'Always: a liquidation is over when it is told',
    rule String COMMENT 'First rule the row breaks, empty when it is valid',
    row_hash UInt64 COMMENT 'Hash of the values as they came, for rejected_rows',
    row String COMMENT 'The values as they came, JSON, for rejected_rows'
)
AS SELECT
    instrument_id, venue, symbol, timestamp, price_kind, liquidation_id, order_side, position_side, price, average_price, quantity,
    filled_quantity, is_sampled, metadata, source, batch_id, ingested_at,
    bitShiftLeft(toUInt64(transform(source, ['archive_daily', 'archive_unverified', 'ws'], [4, 2, 1], 0)), 56)
        + bitShiftLeft(toUInt64(toUnixTimestamp64Milli(ingested_at)), 15)
        + bitAnd(cityHash64(liquidation_id, metadata), 32767) AS version,
    true AS is_final,
    multiIf(
        price IS NULL OR quantity IS NULL, 'required_columns_are_not_null',
        NOT isFinite(assumeNotNull(price)) OR NOT isFinite(assumeNotNull(quantity)), 'numbers_are_finite',
        order_side != 'buy' AND order_side != 'sell', 'side_is_buy_or_sell',
        price <= 0, 'price_is_positive',
        quantity <= 0, 'quantity_is_positive',
        ''
    ) AS rule,
    cityHash64(tuple(liquidation_id, timestamp, order_side, price, quantity, metadata)) AS row_hash,
    toJSONString(map(
        'liquidation_id', toString(liquidation_id), 'timestamp', toString(timestamp), 'order_side', toString(order_side),
        'price', toString(price), 'quantity', toString(quantity), 'metadata', metadata)) AS row
FROM analytics.landing_liquidations
COMMENT 'landing_liquidations with the version of each row and the first rule it breaks. Internal: the one place where the rules stand.';
