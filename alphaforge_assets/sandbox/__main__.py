"""`python -m alphaforge_assets.sandbox`: the sandbox exchange as a child process; for people, `alphaforge sandbox`."""

import datetime as dt
import json
import os
import signal
import sys
import threading
from pathlib import Path

import click

from alphaforge_assets.errors import AlphaForgeError
from alphaforge_assets.sandbox.process import serve


@click.command()
@click.option("--port", type=int, default=8090, show_default=True, help="Port on 127.0.0.1; 0 picks a free one.")
@click.option("--recordings", type=click.Path(path_type=Path), help="Play recorded series from this folder.")
@click.option("--now", help="Fix the venues' clock at this ISO instant.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the generated prices.")
@click.option("--budget-scale", type=float, default=1.0, show_default=True, help="Multiplies every rate limit.")
@click.option("--okx-history-limit", type=int, default=300, show_default=True, help="Rows of a history-candles page.")
@click.option("--as-child", is_flag=True, hidden=True, help="Speak JSON and stop when stdin closes.")
def main(
    port: int,
    recordings: Path | None,
    now: str | None,
    seed: int,
    budget_scale: float,
    okx_history_limit: int,
    as_child: bool,
) -> None:
    """An exchange on loopback that speaks the venues' REST wire formats."""

    def ready(url: str) -> None:
        print(json.dumps({"url": url}) if as_child else f"sandbox exchange at {url}", flush=True)

    try:
        if as_child:
            threading.Thread(target=_stop_with_parent, daemon=True).start()
        instant = dt.datetime.fromisoformat(now) if now else None
        scale, rows = budget_scale, okx_history_limit
        serve(port, recordings, instant, seed, budget_scale=scale, okx_history_limit=rows, on_ready=ready)
    except AlphaForgeError as error:
        said = json.dumps({"error": str(error), "class": type(error).__name__})
        print(said if as_child else f"error: {error}", file=sys.stdout if as_child else sys.stderr, flush=True)
        sys.exit(error.exit_code)


def _stop_with_parent() -> None:
    """Whoever started us holds our stdin; when it closes, they are gone."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
