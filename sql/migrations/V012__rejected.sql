-- Slots whose rows break a rule have a verdict of their own, and rejected rows the length of their bar.
ALTER TABLE analytics.rejected_rows ADD COLUMN IF NOT EXISTS step_ms Int64 ALIAS transform(interval, ['1m', '5m', '15m', '1h', '4h', '1d'], [60000, 300000, 900000, 3600000, 14400000, 86400000], 0) COMMENT 'Bar length in milliseconds, 0 where there is no grid';
ALTER TABLE analytics.gaps COMMENT COLUMN verdict 'not_listed, delisted, venue_outage, no_trades, retention_lost, rejected, suspicious, we_missed or unknown';
