-- The rules of valid trades, once: staging takes the rows whose rule is empty, rejected_rows the others.

CREATE OR REPLACE VIEW analytics.judged_trades
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    timestamp DateTime64(6, 'UTC') COMMENT 'When it was traded, as the venue gave it',
    trade_kind LowCardinality(String) COMMENT 'single or aggregate',
    trade_id UInt64 COMMENT 'Number that the venue gave it, where it gives a name only, made of trade_uuid',
    trade_uuid String COMMENT 'Name that the venue gave it, empty where it counts',
    first_id UInt64 COMMENT 'First single trade of an aggregate, of a single one its own id',
    trade_count UInt32 COMMENT 'Single trades in an aggregate, of a single one 1',
    side LowCardinality(String) COMMENT 'What the taker did: buy or sell, empty if what came says neither',
    price Nullable(Float64) COMMENT 'Price, in quote, NULL if what came is not a number',
    quantity Nullable(Float64) COMMENT 'Amount, in base, NULL if what came is not a number',
    quote_quantity Nullable(Float64) COMMENT 'Amount in quote where the venue says it and it is not price times quantity, else NULL',
    contract_quantity Nullable(Float64) COMMENT 'Amount in contracts where the venue counts in those, else NULL',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing',
    source LowCardinality(String) COMMENT 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none), ws, or file (alphaforge ingest)',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come',
    version UInt64 COMMENT 'Finality rank of the source (top byte), ingested_at in milliseconds (41 bits), hash of the values (15 bits)',
    is_final Bool COMMENT 'Always: a trade is over when it is told',
    rule String COMMENT 'First rule the row breaks, empty when it is valid',
    row_hash UInt64 COMMENT 'Hash of the values as they came, for rejected_rows',
    row String COMMENT 'The values as they came, JSON, for rejected_rows'
)
AS SELECT
    instrument_id, venue, symbol, timestamp, trade_kind, trade_id, trade_uuid, first_id,
    toUInt32(greatest(toInt64(last_id) - toInt64(first_id), -1) + 1) AS trade_count,
    side, price, quantity,
    -- Told with eight decimals at most, and computed in floats: what differs by less is the product.
    if(abs(landing_trades.quote_quantity - price * quantity) <= 1e-8 + 1e-12 * abs(landing_trades.quote_quantity), NULL, landing_trades.quote_quantity) AS quote_quantity,
    contract_quantity, metadata, source, batch_id, ingested_at,
    bitShiftLeft(toUInt64(transform(source, ['archive_daily', 'archive_monthly', 'archive', 'rest', 'archive_unverified', 'ws'], [4, 3, 3, 2, 2, 1], 0)), 56)
        + bitShiftLeft(toUInt64(toUnixTimestamp64Milli(ingested_at)), 15)
        + bitAnd(cityHash64(timestamp, first_id, last_id, side, price, quantity, metadata), 32767) AS version,
    true AS is_final,
    multiIf(
        price IS NULL OR quantity IS NULL, 'required_columns_are_not_null',
        NOT isFinite(assumeNotNull(price)) OR NOT isFinite(assumeNotNull(quantity)), 'numbers_are_finite',
        side != 'buy' AND side != 'sell', 'side_is_buy_or_sell',
        price <= 0, 'price_is_positive',
        quantity <= 0, 'quantity_is_positive',
        last_id < first_id, 'ids_are_in_order',
        ''
    ) AS rule,
    cityHash64(tuple(trade_kind, trade_id, trade_uuid, timestamp, first_id, last_id, side, price, quantity, landing_trades.quote_quantity, metadata)) AS row_hash,
    toJSONString(map(
        'trade_kind', toString(trade_kind), 'trade_id', toString(trade_id), 'timestamp', toString(timestamp), 'first_id', toString(first_id),
        'last_id', toString(last_id), 'side', toString(side), 'price', toString(price), 'quantity', toString(quantity), 'metadata', metadata)) AS row
FROM analytics.landing_trades
COMMENT 'landing_trades with the version of each row and the first rule it breaks. Internal: the one place where the rules stand.';
