"""`alphaforge replay`: trades from the words of venues that the raw trail kept, without asking anybody."""

import datetime as dt
import fnmatch
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import click

from alphaforge_assets.cli.arguments import words
from alphaforge_assets.cli.opened import environment, warehouse_and_dagster
from alphaforge_assets.cli.screen import count, duration, say
from alphaforge_assets.errors import BadInput


@click.command()
@click.option(
    "--instruments", "patterns", multiple=True, callback=words, help="Keys or globs.  [all that the trail has]"
)
@click.option("--raw", type=click.Path(path_type=Path), metavar="DIR", help="The trail.  [ALPHAFORGE_RAW]")
def replay(patterns: Sequence[str], raw: Path | None) -> None:
    """Bring trades into the warehouse again from what their venues said, kept word for word.

    \b
    What the warehouse has is not brought twice. A file that is not what its name says is refused.
      alphaforge replay
      alphaforge replay --instruments 'binance_spot.*' --raw /mnt/trail
    """
    from alphaforge_assets.datasets.trades import TRADES
    from alphaforge_assets.partitions import Rectangle
    from alphaforge_assets.pipeline import trail
    from alphaforge_assets.pipeline.mart import publish, publishing
    from alphaforge_assets.pipeline.staging import stage
    from alphaforge_assets.quality.coverage import judge
    from alphaforge_assets.resources import exchanges_of

    settings, universe = environment(opens_warehouse=True)
    root, began = raw or settings.raw, time.monotonic()
    if root is None:
        raise BadInput("ALPHAFORGE_RAW is off: name the trail by --raw")
    found = trail.files(root, [])
    if patterns:
        keys = {trail.key_of(path) for path in found}
        for pattern in patterns:
            if not fnmatch.filter(keys, pattern):
                raise BadInput(f"--instruments {pattern!r}: the trail has {', '.join(sorted(keys)) or 'nothing'}")
        found = [path for path in found if any(fnmatch.fnmatch(trail.key_of(path), p) for p in patterns)]
    with warehouse_and_dagster(settings) as (client, _):
        done = trail.replay(client, found, exchanges_of(settings), run_id=str(uuid.uuid4()))
        for instrument, (start, end) in done.days.items():
            part = Rectangle((instrument,), start, end)
            stage(client, part, TRADES, TRADES.intervals(universe))
            with publishing(settings.dagster_home)(TRADES):
                publish(client, part, TRADES, TRADES.intervals(universe))
            judge(client, part, TRADES, universe, now=dt.datetime.now(dt.UTC))
    took = duration(time.monotonic() - began)
    say(f"{count(done.rows)} trades from {count(done.files)} files, in {took}; what was there already is not counted")
