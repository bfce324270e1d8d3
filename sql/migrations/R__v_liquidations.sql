-- The contract with researchers: columns are only ever added.

CREATE OR REPLACE VIEW analytics.v_liquidations
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_perp',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(3, 'UTC') COMMENT 'When the venue closed the position, as it gave it',
    price_kind LowCardinality(String) COMMENT 'What price is: order, the limit of the order by which the venue closed it',
    liquidation_id UInt64 COMMENT 'Hash of all that came of it: the venue does not number them',
    timestamp_unix Int64 COMMENT 'When the venue closed the position, milliseconds since 1970',
    order_side LowCardinality(String) COMMENT 'Side of the order that closed the position: buy or sell',
    position_side LowCardinality(String) COMMENT 'The position that was closed: long or short',
    price Float64 COMMENT 'Price of the kind that price_kind names, in quote',
    average_price Nullable(Float64) COMMENT 'Average price at which the order was filled, in quote, NULL if the venue does not say',
    quantity Float64 COMMENT 'Amount of the order, in base',
    filled_quantity Nullable(Float64) COMMENT 'Part of it that was filled, in base, NULL if the venue does not say',
    is_sampled Bool COMMENT 'Whether the venue told a part of its liquidations only: the latest of a second',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing',
    source LowCardinality(String) COMMENT 'archive_daily, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come',
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read it'
)
AS SELECT
    instrument_id, venue, symbol, timestamp, price_kind, liquidation_id, timestamp_unix, order_side, position_side, price, average_price,
    quantity, filled_quantity, is_sampled, metadata, source, batch_id, ingested_at, published_at
FROM analytics.liquidations FINAL
COMMENT 'Liquidations that venues told, one row each. Sampled ones are the latest of a second at most: what was not told nobody knows.';
