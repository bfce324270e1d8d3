-- The files of archives: which were looked at, what each was like, and why one was not there. And what `source` may say by now.

CREATE TABLE IF NOT EXISTS analytics.archive_files
(
    instrument_id UInt32 DEFAULT CRC32(concat(venue, '.', replaceOne(symbol, '/', '-'))) COMMENT 'Instrument it is of',
    venue LowCardinality(String) COMMENT 'Venue whose archive it is of',
    symbol LowCardinality(String) COMMENT 'Symbol, BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length, such as 1m',
    key String COMMENT 'Name of the file in its bucket',
    period_start DateTime64(3, 'UTC') COMMENT 'Start of the month or day it is named after',
    period_end DateTime64(3, 'UTC') COMMENT 'End of the month or day it is named after, exclusive',
    etag String COMMENT 'ETag of the listing, empty where there was no file: another one is another content',
    size UInt64 COMMENT 'Bytes by the listing',
    last_modified Nullable(DateTime64(3, 'UTC')) COMMENT 'When the venue says it wrote the file',
    sha256 String COMMENT 'SHA-256 of the bytes that came, hexadecimal',
    checksum_status LowCardinality(String) COMMENT 'verified, mismatch: its checksum is of other bytes, absent, or empty where no file came',
    has_header Bool COMMENT 'Whether the first line names the columns',
    time_unit LowCardinality(String) COMMENT 'Unit of its times: ms or us, told by their size',
    rows UInt64 COMMENT 'Bars in it, without repetitions',
    duplicates UInt64 COMMENT 'Rows that repeat another one in every field, of which one is kept',
    first Nullable(DateTime64(3, 'UTC')) COMMENT 'Open time of its first bar',
    last Nullable(DateTime64(3, 'UTC')) COMMENT 'Open time of its last bar',
    status LowCardinality(String) COMMENT 'loaded, unverified: loaded with the rank of REST, not_published yet, not_listed: before the first file or after the last one, hole: none between two that are there, corrupt: see reason, gone: listed and not there, superseded: the venue has another one now',
    reason String COMMENT 'Why it is unverified, corrupt or gone',
    origin LowCardinality(String) COMMENT 'live, or sandbox when the exchange emulator answered',
    seen_at DateTime64(3, 'UTC') COMMENT 'When we looked'
)
ENGINE = ReplacingMergeTree(seen_at)
ORDER BY (venue, symbol, interval, key, etag)
COMMENT 'One row a file of an archive and content it had, as last seen, also of those that were not there. Read with FINAL.';

ALTER TABLE analytics.ingest_batches COMMENT COLUMN source 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws';
ALTER TABLE analytics.landing_bars COMMENT COLUMN source 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws';
ALTER TABLE analytics.bars_history COMMENT COLUMN source 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws';
ALTER TABLE analytics.bars COMMENT COLUMN source 'rest, archive_daily, archive_monthly, archive_unverified (a file whose checksum is of other bytes, or that has none) or ws';
ALTER TABLE analytics.staging_bars COMMENT COLUMN version 'Finality rank of the source (top byte: archive_daily 4, archive_monthly 3, rest and archive_unverified 2, ws 1), ingested_at in milliseconds (41 bits), hash of the values (15 bits): the highest is the truth';
