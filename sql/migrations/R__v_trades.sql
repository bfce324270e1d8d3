-- The contract with researchers: columns are only ever added. An instrument is shown in one kind: its single trades where there
-- are any, else aggregates, because both tell of the same trades.

CREATE OR REPLACE VIEW analytics.v_trades
(
    exchange LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    trade_id UInt64 COMMENT 'Number that the venue gave it, where it gives a name only, made of trade_uuid',
    trade_kind LowCardinality(String) COMMENT 'single, or aggregate: what one order took at one price in one moment',
    side LowCardinality(String) COMMENT 'What the taker did: buy or sell',
    price Float64 COMMENT 'Price, in quote',
    quantity Float64 COMMENT 'Amount, in base',
    quote_quantity Float64 COMMENT 'Amount, in quote, by the venue where it says so, else price times quantity',
    trade_ts DateTime64(6, 'UTC') COMMENT 'When it was traded, as the venue gave it',
    ingest_ts DateTime64(3, 'UTC') COMMENT 'When the answer of the venue had come',
    source LowCardinality(String) COMMENT 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws',
    venue LowCardinality(String) COMMENT 'The same as exchange, as in the other views',
    timestamp DateTime64(6, 'UTC') COMMENT 'The same as trade_ts, as in the other views',
    timestamp_unix Int64 COMMENT 'When it was traded, microseconds since 1970',
    first_id UInt64 COMMENT 'First single trade of an aggregate, of a single one its own id',
    last_id UInt64 COMMENT 'Last single trade of an aggregate, of a single one its own id',
    trade_uuid String COMMENT 'Name that the venue gave it, empty where it counts',
    published_at DateTime64(3, 'UTC') COMMENT 'When researchers could first read it',
    batch_id UUID COMMENT 'Batch of ingest_batches that brought the row',
    metadata String COMMENT 'JSON of whatever came that no column holds, empty when there is nothing',
    contract_quantity Nullable(Float64) COMMENT 'Amount in contracts where the venue counts in those, else NULL'
)
AS SELECT
    venue AS exchange, symbol, instrument_id, trade_id, trade_kind, side, price, quantity,
    ifNull(t.quote_quantity, price * quantity) AS quote_quantity, timestamp AS trade_ts, ingested_at AS ingest_ts, source,
    venue, timestamp, timestamp_unix, first_id, last_id, trade_uuid, published_at, batch_id, metadata, contract_quantity
FROM analytics.trades AS t FINAL
COMMENT 'Trades, one row an id, in one kind an instrument. What a venue did not tell is not here: see v_gaps.';
