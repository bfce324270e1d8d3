-- Bars of other prices that REST told in some runs, and that are published with other values, of a file: it has the higher rank.
-- One row an instrument, interval and source of the file.
SELECT venue, symbol, interval, kept_source AS source, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM
(
    SELECT any(venue) AS venue, any(symbol) AS symbol, instrument_id, interval, timestamp,
        argMax(cityHash64(tuple(close_time, open, high, low, close, sample_count)), ingested_at) AS told
    FROM analytics.landing_price_bars
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND source = 'rest' AND is_closed
        AND batch_id IN (SELECT batch_id FROM analytics.ingest_batches WHERE run_id IN {runs:Array(String)})
    GROUP BY instrument_id, interval, timestamp
) AS by_rest
INNER JOIN
(
    SELECT instrument_id, interval, timestamp, toString(source) AS kept_source,
        cityHash64(tuple(close_time, open, high, low, close, sample_count)) AS kept
    FROM analytics.price_bars FINAL
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND source IN ('archive_daily', 'archive_monthly')
) AS published USING (instrument_id, interval, timestamp)
WHERE told != kept
GROUP BY venue, symbol, interval, source
ORDER BY venue, symbol, interval, source
