-- Which of some batches the ledger knows: an answer that was landed before is not landed again.
SELECT DISTINCT batch_id
FROM analytics.ingest_batches
WHERE batch_id IN {batches:Array(UUID)}
