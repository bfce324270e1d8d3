"""`python -m bench`: measures, prints the table, keeps it in bench/results.json. `make bench` is this without options.

Each group of the table is a module with a function `rows`. Nothing is asserted of a time: each row is a ratio to a
floor or to a peer that was measured beside it, since the same machine is never the same twice.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click

from bench import backfill, growth, memory, orchestration, reads, results, size, start
from bench.measure import FULL, LARGE, SMOKE, Row, Sizes

GROUPS: dict[str, tuple[str, Callable[[Sizes, Path], Iterator[Row]]]] = {
    "a": ("a year of minutes", backfill.rows),
    "b": ("what Dagster costs", orchestration.rows),
    "c": ("reads", reads.rows),
    "d": ("bytes a row", size.rows),
    "e": ("peak memory", memory.rows),
    "f": ("cold starts", start.rows),
    "g": ("growth", growth.rows),
}


@click.command()
@click.option("--only", default=",".join(GROUPS), show_default=True, help="Groups, comma-separated.")
@click.option("--smoke", is_flag=True, help="Tiny sizes, to see that all of it works; kept only with --results.")
@click.option("--large", is_flag=True, help="Group g up to 100 million rows (5 GB of disk, some minutes more).")
@click.option("--rounds", type=click.IntRange(1), help="Samples of each, where there are several. [3]")
@click.option("--markdown", is_flag=True, help="Write the kept table into docs/performance.md; alone: measure nothing.")
@click.option("--results", "file", type=click.Path(path_type=Path), help="Where it is kept. [bench/results.json]")
def main(only: str, smoke: bool, large: bool, rounds: int | None, markdown: bool, file: Path | None) -> None:
    """Speed, size and memory, as ratios to floors and peers of the same run."""
    chosen = [letter.strip() for letter in only.split(",")]
    if unknown := [letter for letter in chosen if letter not in GROUPS]:
        raise click.BadParameter(f"{', '.join(unknown)}: there is {', '.join(GROUPS)}", param_hint="--only")
    asked = click.get_current_context()
    measures = not markdown or smoke or large or rounds or asked.get_parameter_source("only").name != "DEFAULT"
    if measures:
        sizes = SMOKE if smoke else LARGE if large else FULL
        sizes = replace(sizes, rounds=rounds or sizes.rounds)
        for letter in chosen:
            group = {letter: measured(letter, sizes)}
            results.show(group)
            if file or not smoke:
                results.save(group, file or results.FILE)
    if markdown:
        results.write_page(results.saved(file or results.FILE))


def measured(letter: str, sizes: Sizes) -> dict[str, object]:
    """A group's entry in the results."""
    title, rows = GROUPS[letter]
    click.echo(f"({letter}) {title} …", err=True)
    circumstances = results.circumstances()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        return results.record(circumstances, title, sizes.name, list(rows(sizes, folder)))
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove what a group left. Its warehouses end on their own soon after their last client, and write until then."""
    for _ in range(30):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.5)


if __name__ == "__main__":
    main()
