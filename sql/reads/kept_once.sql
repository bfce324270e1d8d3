-- Instruments of a dataset that anybody ever asked for, in the universe or not: what is in the warehouse is read by its key.
SELECT DISTINCT venue, symbol
FROM analytics.ingest_batches
WHERE dataset = {dataset:String} AND status = 'complete'
ORDER BY venue, symbol
