-- The last executions, the latest first.
SELECT * FROM analytics.v_runs ORDER BY ended_at DESC, run_id LIMIT {last:UInt32}
