"""AlphaForge: crypto market data from exchanges into ClickHouse, provably complete and provably reproducible.

The map, from what everything knows to what knows everything (imports point up this list only, which the tests hold):

    errors       the error tree, by whether a rerun would help
    universe     WHAT we keep: start reading here
    venues/      WHERE it comes from: one file a venue, the guarded HTTP, the rate budget
    warehouse/   the only code that talks to ClickHouse: client, statements, batches, migrations, the embedded server
    settings     the environment, read once
    research     reading for people: frames, receipts, snapshots
    plugin, exports/, chart              the same for an orchestrator, for other tools, for the eye
    partitions   day x instrument, and the rectangle a run covers; from here on up Dagster may be imported
    resources, described                 what assets are given, and what the UI shows of them
    plan         what a backfill will cost, and how near to the venues' limits the last ones came
    landing, staging, mart, dimensions   the assets of each layer
    checks, sensors                      one Dagster noun each
    definitions  a list of all that
    cli/         the `alphaforge` command
    sandbox/     an exchange on loopback; nothing but cli and tests imports it

Invariants: landing only grows; a rerun of anything publishes nothing; bars_history is never changed; what is missing is
never invented; no SQL outside sql/; nothing happens at import.
"""
