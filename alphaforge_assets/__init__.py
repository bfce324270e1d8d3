"""AlphaForge: crypto market data from exchanges into ClickHouse, provably complete and provably reproducible.

The map, from what everything knows to what knows everything (imports point up this list only, which the tests hold):

    errors, intervals    the error tree, by whether a rerun would help; bar lengths
    failpoints   where a test may make a process die, fail or wait
    event_log/   Dagster's SQLite event log, in batches and packed
    venues/      WHERE data comes from: one file a venue, the source protocol, the guarded HTTP, the rate budget
    universe     WHAT we keep: start reading here
    verdicts     why something is missing
    warehouse/   the only code that talks to ClickHouse: client, statements, ledger, migrations, the embedded server
    datasets/    WHICH kinds of data: one file a dataset, from which all else about it is derived
    webhooks, settings   where alerts go; the environment, read once
    research/    reading for people: frames, receipts, snapshots, and the plugin for an orchestrator
    exports/     the same for other tools, and charts for the eye
    partitions   day x instrument, and the rectangle a run covers; from here on up Dagster may be imported
    catalog, resources, instance         what the UI shows of assets, what they are given, where runs are recorded
    pipeline/    landing, staging, mart and dimensions as functions
    quality/     what is missing and why, the rules, how old it may be
    assets, refresh      the chain as Dagster assets, and as one call
    upkeep/      what happens without a person: the open day, days that close, healing, listings, the audit
    alerts/, report/     who is told of trouble, and what a day was like
    health/              whether home, machine and what runs are well, for the doctor and /healthz
    definitions  a list of all that
    backfill/    what a backfill is asked, what it will cost, and its runs
    backup/      everything to another place and back, proved by hashes
    cli/         the `alphaforge` command, a file a subcommand
    sandbox/     an exchange on loopback; nothing but cli and tests imports it

Invariants: landing only grows; a rerun of anything publishes nothing; bars_history is never changed; what is missing is
never invented; no SQL outside sql/; nothing happens at import.
"""
