"""`alphaforge rebuild-status`: what the UI shows of partitions, from the warehouse, and how much of it."""

import time
from typing import TYPE_CHECKING

import click

from alphaforge_assets.cli.opened import environment, warehouse_and_dagster
from alphaforge_assets.cli.screen import count, duration, say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alphaforge_assets.backup.statuses import Proved


@click.command("rebuild-status")
@click.option("--dry-run", is_flag=True, help="Say what would be recorded and stop.")
def rebuild_status(dry_run: bool) -> None:
    """Tell Dagster of the partitions that the warehouse proves complete, if its databases were lost.

    \b
    No venue is asked and no data changes. A partition that has a status keeps it, so the same again records
    nothing; what is not proved is left out, and the next backfill or run does it. All is read before anything
    is recorded: a warehouse that does not answer (exit code 1) leaves everything as it was.
      alphaforge rebuild-status --dry-run
      alphaforge rebuild-status
    """
    from alphaforge_assets.backup.statuses import proved, rebuild, without_status

    settings, universe = environment()
    began = time.monotonic()
    with warehouse_and_dagster(settings) as (client, dagster):
        found = proved(client, universe)
        new = [without_status(dagster, universe, its) for its in found]
        if not dry_run:
            rebuild(dagster, new)
    _print(found, new)
    total = count(sum(len(its.partitions) for its in new))
    verb = "would be recorded; nothing was" if dry_run else "recorded"
    say(f"{total} partition statuses {verb}, in {duration(time.monotonic() - began)}")


def _print(found: "Sequence[Proved]", new: "Sequence[Proved]") -> None:
    shown = table("Asset", figures=("New", "Had one", "Not proved"), is_tight=False)
    for its, others in zip(found, new, strict=True):
        had = len(its.partitions) - len(others.partitions)
        shown.add_row(its.asset, count(len(others.partitions)), count(had), count(its.unproved))
    say(shown)
