"""`alphaforge runs`: the last executions, what started them, what they cost and what came of them."""

import click


@click.command()
@click.option("--last", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with code and configuration hashes.")
def runs(last: int, as_json: bool) -> None:
    """The audit: the last executions, the latest first, with what started them, rows, requests and outcome.

    Killed runs have their row too. All of it, as a view: analytics.v_runs.
    """
    from alphaforge_assets.cli.audited import show_runs

    show_runs(last, as_json)
