-- What a venue no longer serves stands in the ledger: it was wanted, nobody could be asked, and so it is missing for good.
ALTER TABLE analytics.ingest_batches COMMENT COLUMN status 'complete: the whole window was answered and every row is in landing, failed: see error, unserved: wanted when no source served it any more, so nobody was asked';
