-- What a receipt says besides the rows: the moment of the read, the rank of the schema, rows rejected, and the gap ledger.
SELECT
    now64(3, 'UTC') AS read_at,
    (SELECT max(installed_rank) FROM analytics.flyway_schema_history WHERE success) AS schema_version,
    (
        SELECT count() FROM analytics.rejected_rows FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND interval = {interval:String}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND rejected_at <= {as_of:DateTime64(3, 'UTC')}
    ) AS rejected,
    (
        SELECT groupArray((instrument_id, toUnixTimestamp64Milli(gap_start), toUnixTimestamp64Milli(gap_end), verdict, evidence))
        FROM
        (
            SELECT instrument_id, gap_start, gap_end, verdict, evidence
            FROM analytics.v_gaps
            WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND interval = {interval:String}
                AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
                -- Completeness of funding counts minutes without an answer, and a settlement that is not there is none.
                AND (interval != '' OR verdict = 'retention_lost')
            ORDER BY is_open, last_seen, gap_start
        )
    ) AS gaps
