"""`alphaforge backup | restore`: everything to another place and back, and what came of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from alphaforge_assets.cli.opened import warehouse
from alphaforge_assets.cli.screen import count, duration, say, screen
from alphaforge_assets.errors import BadInput, Permanent

if TYPE_CHECKING:
    from alphaforge_assets.backup.place import Place

FILES_NAMED_MAX = 20


@click.command()
@click.argument("place", metavar="PLACE", help="A directory, or s3://bucket/prefix.")
@click.option("--verify", is_flag=True, help="Instead: read a backup that is there, and hold every file to its hash.")
@click.option("--backup", "name", metavar="NAME", help="With --verify: which one. [the latest]")
def backup(place: str, verify: bool, name: str | None) -> None:
    """Copy all that cannot be fetched again to PLACE: every table, the ledger, snapshots and Dagster's record.

    \b
    The second backup to a place writes only what changed since; each can be restored by itself. It may be
    taken while `alphaforge up` runs. An interrupted one is none, and the same command does what is left.
      alphaforge backup /mnt/backup/alphaforge
      alphaforge backup s3://backups/alphaforge

    \b
    --verify needs no warehouse and restores nothing. Exit code: 0 all of it is what was written, 1 something is
    not, and it is named, 2 there is no such backup.
      alphaforge backup --verify /mnt/backup/alphaforge
    """
    from alphaforge_assets.backup import place as places
    from alphaforge_assets.backup.take import take
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.warehouse import statements

    if name and not verify:
        raise BadInput("--backup names one that is there: it goes with --verify")
    settings = settings_from_environment()
    there = places.place(place, settings.s3_endpoint)
    if verify:
        _verify(there, name)
        return
    began = time.monotonic()
    with warehouse(settings) as client:
        rows = sum(t["row_count"] for t in statements.rows(client, "backup/tables"))
        with _progress(rows) as on_step:
            done = take(client, settings.dagster_home, there, on_step)
    say(
        f"{count(done.rows)} rows in {count(done.pieces)} pieces; {count(done.written)} files"
        f" ({done.bytes_written / 1e6:,.1f} MB) written in {duration(time.monotonic() - began)}"
    )
    say(f"backup {done.name}", markup=False, soft_wrap=True)


@click.command()
@click.argument("place", metavar="PLACE", help="Where backups were taken to: a directory, or s3://bucket/prefix.")
@click.option("--backup", "name", metavar="NAME", help="Which one, as `alphaforge backup` named it. [the latest]")
def restore(place: str, name: str | None) -> None:
    """Bring a backup back into an empty ALPHAFORGE_HOME (or an empty server), and prove that all of it is there.

    \b
    Every file and every row is hashed, and every snapshot verified. A home that holds something is refused.
    An interrupted restore is opened by nothing else; the same command again starts over.
      ALPHAFORGE_HOME=.restored alphaforge restore /mnt/backup/alphaforge
    """
    from alphaforge_assets.backup import manifest
    from alphaforge_assets.backup import place as places
    from alphaforge_assets.backup import restore as restoring
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.warehouse import schema
    from alphaforge_assets.warehouse.client import open_warehouse

    settings = settings_from_environment()
    there = places.place(place, settings.s3_endpoint)
    name, held = manifest.read(there, name)
    began = time.monotonic()
    with open_warehouse(settings.home, settings.clickhouse_url) as client:
        schema.ensure(client, settings.home, settings.clickhouse_url)
        with _progress(held.rows) as on_step:
            restoring.restore(client, settings.home, there, name, on_step)
    say(
        f"{count(held.rows)} rows, {len(held.snapshots)} snapshots and {len(held.databases)} databases are as they were"
        f" at {held.taken_at}, in {duration(time.monotonic() - began)}"
    )


def _verify(there: "Place", name: str | None) -> None:
    from alphaforge_assets.backup import manifest

    name, held = manifest.read(there, name)
    files = {piece.file for piece in held.pieces} | set(held.databases.values())
    size = sum(file.size for file in files)
    with _progress(size) as on_step:
        bad = manifest.damaged(there, held, lambda done: on_step("reading", done))
    if bad:
        more = f", and {len(bad) - FILES_NAMED_MAX} more" if len(bad) > FILES_NAMED_MAX else ""
        raise Permanent(
            f"backup {name} is damaged, {len(bad)} of {len(files)} files: {'; '.join(bad[:FILES_NAMED_MAX])}{more}."
            " Use another backup (--backup NAME) or another copy; where they are removed, the next `alphaforge backup`"
            " writes those again that the warehouse still holds"
        )
    say(
        f"all {count(len(files))} files ({size / 1e6:,.1f} MB) are what was written: {count(held.rows)} rows,"
        f" {len(held.snapshots)} snapshots, {len(held.databases)} databases, of {held.taken_at}"
    )
    say(f"backup {name} is whole", markup=False, soft_wrap=True)


@contextmanager
def _progress(rows: int) -> Iterator[Callable[[str, int], None]]:
    """A bar of rows, if somebody looks."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TextColumn("ETA"))
    with Progress(
        *columns, TimeRemainingColumn(), console=screen(), transient=True, disable=not screen().is_terminal
    ) as bar:
        task = bar.add_task("reading", total=max(rows, 1))
        yield lambda what, done: bar.update(task, advance=done, description=what)
