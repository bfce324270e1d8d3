-- What a run brought into history and rejected_rows: what appeared in its rectangle between its start and its end, less what
-- runs already on record account for. So nothing is counted twice when runs overlap, or when a killed one is found late.
WITH
    (
        SELECT groupArray((started_at, ended_at, instrument_ids, assumeNotNull(day_from), assumeNotNull(day_until)))
        FROM analytics.runs FINAL
        WHERE run_id != {run:String} AND has(datasets, {dataset:String}) AND day_from IS NOT NULL
            AND started_at <= {ended_at:DateTime64(3, 'UTC')} AND ended_at >= {started_at:DateTime64(3, 'UTC')}
    ) AS others,
    appeared AS
    (
        SELECT 'published' AS what, instrument_id, timestamp, published_at AS at FROM {database:Identifier}.{history:Identifier} FINAL
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND published_at >= {started_at:DateTime64(3, 'UTC')} AND published_at <= {ended_at:DateTime64(3, 'UTC')}
        UNION ALL
        SELECT 'rejected', instrument_id, timestamp, rejected_at FROM analytics.rejected_rows FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND rejected_at >= {started_at:DateTime64(3, 'UTC')} AND rejected_at <= {ended_at:DateTime64(3, 'UTC')}
    )
SELECT countIf(what = 'published') AS rows_out, countIf(what = 'rejected') AS rows_rejected
FROM appeared
WHERE NOT arrayExists(
    o -> at >= o.1 AND at <= o.2 AND has(o.3, instrument_id) AND toDate(timestamp) >= o.4 AND toDate(timestamp) < o.5, others)
