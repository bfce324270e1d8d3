-- What the warehouse knows of a range of trades, in one question beside the one for its rows: gaps that count ids or that nobody
-- serves any more, and what was asked for by then and when that was told, the complete windows last. Whoever reads paints one
-- over another.
SELECT
    now64(3, 'UTC') AS read_at,
    (
        SELECT arraySort(g -> (g.7, g.8, g.2), groupArray((
            instrument_id, toUnixTimestamp64Milli(gap_start), toUnixTimestamp64Milli(gap_end), verdict, evidence, missing,
            is_open, last_seen)))
        FROM analytics.gaps FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
            AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
            AND (verdict = 'retention_lost' OR (is_open AND missing > 0))
    ) AS gaps,
    (
        SELECT arrayReverseSort(a -> a.2, groupArray((
            instrument_id, toString(status), toUnixTimestamp64Milli(window_start), toUnixTimestamp64Milli(window_end),
            toUnixTimestamp64Milli(recorded_at))))
        FROM analytics.ingest_batches
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
            AND window_start < {end:DateTime64(3, 'UTC')} AND window_end > {start:DateTime64(3, 'UTC')}
            AND window_end > window_start AND recorded_at <= {as_of:DateTime64(3, 'UTC')}
    ) AS asked
