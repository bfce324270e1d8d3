-- The audit of executions: who started what with which code and configuration, what it cost and what came of it.
-- Every statement can run again: a migration that was killed half-way starts over from its first statement.

CREATE TABLE IF NOT EXISTS analytics.runs
(
    run_id String COMMENT 'Run of Dagster, or the id of a command that is none, such as alphaforge refresh',
    trigger LowCardinality(String) COMMENT 'What started it: cli, ui, schedule, sensor, automation, or the word that a sensor of ours gave it, such as heal',
    started_by String COMMENT 'The person of the terminal, the schedule, the sensor or the backfill that it belongs to, empty if nobody is known',
    parent_run_id String COMMENT 'The run that this one repeats, empty if none',
    job String COMMENT 'What was run: the job, or the datasets, or else the assets that were chosen by hand',
    assets Array(LowCardinality(String)) COMMENT 'Assets it was to materialize',
    datasets Array(LowCardinality(String)) COMMENT 'Datasets they belong to',
    instrument_ids Array(UInt32) COMMENT 'Instruments it covered, derived from venue and symbol',
    instruments Array(LowCardinality(String)) COMMENT 'Their keys, as binance_spot.BTC-USDT',
    day_from Nullable(Date) COMMENT 'First day it covered, NULL if it is not cut by day',
    day_until Nullable(Date) COMMENT 'Day after the last one it covered',
    windows UInt32 COMMENT 'Windows it asked venues for, by the ledger',
    windows_failed UInt32 COMMENT 'Those of them that got no usable answer',
    rows_in UInt64 COMMENT 'Rows that came, by the ledger',
    rows_out UInt64 COMMENT 'New versions in history that it published, each version counted for one run',
    rows_rejected UInt64 COMMENT 'Rows put into rejected_rows while it ran, each counted for one run',
    requests UInt64 COMMENT 'HTTP requests for data, retries included, by the ledger',
    weight UInt64 COMMENT 'Cost of them in units of the rate limits of the venues',
    retries UInt64 COMMENT 'Requests that had to be repeated',
    waited_s Float64 COMMENT 'Seconds spent waiting for rate budgets and between retries, of all threads together',
    code_version String COMMENT 'Version of the package, and the git commit where it is a checkout, of whoever wrote this row',
    code_hash String COMMENT 'SHA-256 of the package and of sql, hexadecimal',
    config_hash String COMMENT 'SHA-256 of the universe, the settings without secrets and the configuration of the run',
    started_at DateTime64(3, 'UTC') COMMENT 'When it started, or was asked for if it never did',
    ended_at DateTime64(3, 'UTC') COMMENT 'When it ended, for a killed one when that was noticed',
    duration_s Float64 COMMENT 'Seconds between the two',
    outcome LowCardinality(String) COMMENT 'success, failure or canceled',
    error String COMMENT 'Why it did not succeed, empty if it did' CODEC(ZSTD(3)),
    recorded_at DateTime64(3, 'UTC') COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY run_id
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'One row an execution, written once it has ended, however it ended. Read with FINAL, or through v_runs.';
