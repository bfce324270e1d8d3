-- Files of somebody's own (alphaforge ingest) are a source of their own name, `file`, with the lowest rank, and their batches have a
-- status of their own: nobody was asked, so they answer nothing.

ALTER TABLE analytics.ingest_batches COMMENT COLUMN status 'complete: the whole window was answered and every row is in landing, failed: see error, unserved: wanted and nobody serves it any more, given: rows of a file by alphaforge ingest, which says nothing of what lies between them';
ALTER TABLE analytics.ingest_batches COMMENT COLUMN source 'rest, archive_daily, archive_monthly, archive_unverified (files of the venue), ws, or file (alphaforge ingest)';
ALTER TABLE analytics.ingest_batches COMMENT COLUMN evidence 'At most 4 kB of a body that could not be trusted, or, of what was given, the file with its SHA-256 and its mapping, JSON';
ALTER TABLE analytics.landing_bars COMMENT COLUMN source 'rest, archive_daily, archive_monthly, archive_unverified (a file of the venue whose checksum is of other bytes, or that has none), ws, or file (alphaforge ingest)';
ALTER TABLE analytics.bars_history COMMENT COLUMN source 'rest, archive_daily, archive_monthly, archive_unverified (a file of the venue whose checksum is of other bytes, or that has none), ws, or file (alphaforge ingest)';
ALTER TABLE analytics.bars COMMENT COLUMN source 'rest, archive_daily, archive_monthly, archive_unverified (a file of the venue whose checksum is of other bytes, or that has none), ws, or file (alphaforge ingest)';
ALTER TABLE analytics.landing_trades COMMENT COLUMN source 'rest, files of the venue (archive_…), ws, or file (alphaforge ingest)';
ALTER TABLE analytics.trades COMMENT COLUMN source 'rest, files of the venue (archive_…), ws, or file (alphaforge ingest)';
ALTER TABLE analytics.landing_trades COMMENT COLUMN trade_uuid 'Name that the venue gave it, empty where it counts, ~ and digits made of its values where a file gave it neither number nor name';
ALTER TABLE analytics.trades COMMENT COLUMN trade_uuid 'Name that the venue gave it, empty where it counts, ~ and digits made of its values where a file gave it neither number nor name';
