"""`alphaforge sandbox`: the exchange emulator as a server."""

import datetime as dt
from pathlib import Path

import click

from alphaforge_assets.cli.arguments import moment, port


@click.command()
@port("--port", 8900, "Port on 127.0.0.1; 0 for any free one.")
@click.option(
    "--recordings",
    type=click.Path(path_type=Path),
    help="Play recorded series from this folder instead of generated prices.",
)
@click.option("--now", callback=moment, help="Fix the venues' clock, as 2025-07-01T00:00:00Z. [the real time]")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other prices.")
def sandbox(port: int, recordings: Path | None, now: dt.datetime | None, seed: int) -> None:
    """Emulate the venues' REST APIs on loopback until interrupted.

    \b
    Prices are a pure function of seed, venue, symbol and minute.
      GET  /_log      every request so far, as JSON
      POST /_revise   another bar: {"venue": …, "symbol": …, "interval": …, "open_time": ms, "close": …}
      POST /_faults   what fails, how and how often (alphaforge_assets/sandbox/faults.py)
      POST /_archive  what is wrong with files of the archive (alphaforge_assets/sandbox/vision.py)
      POST /_clock    {"now": "2025-07-01T00:00:00Z"}: the time at the venues, null for the real one
    """
    from alphaforge_assets.sandbox.process import serve

    serve(port, recordings, now, seed, on_ready=lambda url: click.echo(f"sandbox: {url}  (ALPHAFORGE_VENUES={url})"))
