-- Streamed bars of hours that are over -> the ledger, a row a batch: an instrument, a connection, an hour. A rerun adds nothing.
-- `streamed` is no answer to a window: what lies between the bars nobody was asked for.
INSERT INTO analytics.ingest_batches
(batch_id, dataset, venue, symbol, interval, window_start, window_end, status, row_count, content_hash, source, origin, requests,
 weight, retries, waited_s, error, evidence, run_id, recorded_at)
SELECT
    batch_id, 'bars', any(venue), any(symbol), any(interval), min(timestamp), max(timestamp) + toIntervalMinute(1), 'streamed', count(),
    lower(hex(SHA256(arrayStringConcat(arraySort(groupArray(toString(cityHash64(timestamp, open, high, low, close, volume)))), ',')))),
    'ws', {origin:String}, 0, 0, 0, 0, '', '', {run_id:String}, now64(3, 'UTC')
FROM analytics.landing_bars
WHERE source = 'ws' AND instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND batch_id NOT IN
    (
        SELECT batch_id
        FROM analytics.ingest_batches
        WHERE dataset = 'bars' AND status = 'streamed' AND instrument_id IN {instruments:Array(UInt32)}
            AND window_start >= {start:DateTime64(3, 'UTC')} AND window_start < {end:DateTime64(3, 'UTC')}
    )
GROUP BY batch_id
