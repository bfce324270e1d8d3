"""Our event log answers as Dagster's does: over the same runs, with many processes, after a kill, and either way."""
