-- Which of some runs have their row in the audit.
SELECT run_id FROM analytics.runs WHERE run_id IN {runs:Array(String)} GROUP BY run_id
