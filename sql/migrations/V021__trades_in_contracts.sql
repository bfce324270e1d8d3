-- Venues that count perpetuals in contracts: what they said stands beside the amount in base that is made of it.
ALTER TABLE analytics.landing_trades ADD COLUMN IF NOT EXISTS contract_quantity Nullable(Float64) COMMENT 'Amount in contracts as the venue gave it, NULL where it counts in base' CODEC(ZSTD(1)) AFTER quote_quantity;
ALTER TABLE analytics.trades ADD COLUMN IF NOT EXISTS contract_quantity Nullable(Float64) COMMENT 'Amount in contracts where the venue counts in those, else NULL' CODEC(ZSTD(1)) AFTER quote_quantity;
