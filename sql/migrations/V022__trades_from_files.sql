-- Trades come from files too: what `source` may say of them by now, and that a file need not be of bars.
ALTER TABLE analytics.landing_trades COMMENT COLUMN source 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws';
ALTER TABLE analytics.trades COMMENT COLUMN source 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws';
ALTER TABLE analytics.staging_trades COMMENT COLUMN version 'Finality rank of the source (top byte: archive_daily 4, archive_monthly 3, rest and archive_unverified 2, ws 1), ingested_at in milliseconds (41 bits), hash of the values (15 bits): the highest is the truth';
ALTER TABLE analytics.archive_files COMMENT COLUMN interval 'Bar length, such as 1m, empty for a file of trades';
ALTER TABLE analytics.archive_files COMMENT COLUMN rows 'Bars or trades in it, without repetitions';
ALTER TABLE analytics.archive_files COMMENT COLUMN first 'Open time of its first bar, or when its first trade was';
ALTER TABLE analytics.archive_files COMMENT COLUMN last 'Open time of its last bar, or when its last trade was';
