"""The `alphaforge` command: what may be asked for, in words. The work is done elsewhere; this module reads arguments.

Exit codes: 0 done; 1 something failed, and the message says whether a rerun helps; 2 the question itself cannot be;
130 interrupted.
"""

import datetime as dt
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from alphaforge_assets.cli import snapshots_command
from alphaforge_assets.cli.alerts_command import alerts
from alphaforge_assets.cli.bars_command import bars
from alphaforge_assets.cli.export_command import export
from alphaforge_assets.cli.plan_command import plan
from alphaforge_assets.cli.report import report
from alphaforge_assets.cli.runs_command import runs
from alphaforge_assets.cli.sql_command import sql
from alphaforge_assets.errors import AlphaForgeError, BadInput


class Command(click.Group):
    """Turns our errors into one message and their class's exit code; anything else is a bug and keeps its traceback."""

    def invoke(self, context: click.Context) -> Any:
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            return super().invoke(context)
        except AlphaForgeError as error:
            from alphaforge_assets.cli.screen import complain

            complain(f"alphaforge: {error}")
            context.exit(error.exit_code)
        except KeyboardInterrupt:
            from alphaforge_assets.cli.screen import complain

            complain("alphaforge: interrupted; the same command again does what is left")
            sys.stdout.flush()
            os._exit(130)  # threads may be waiting for a venue, and nothing is lost by not waiting with them


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@click.group(cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="alphaforge-assets")
def main() -> None:
    """Crypto market data from exchanges into ClickHouse: provably complete, provably reproducible.

    \b
    First steps
      alphaforge demo                 a small warehouse from the exchange emulator, in a minute
      alphaforge up --venues sandbox  everything at once: warehouse, emulator, Dagster UI and daemon
      alphaforge backfill --help      fetch a range
      alphaforge status               what there is

    \b
    Environment
      ALPHAFORGE_HOME      where everything is kept             (.alphaforge)
      CLICKHOUSE_URL       http://user:password@host:port       (unset: the embedded warehouse of the home)
      ALPHAFORGE_VENUES    live, or a sandbox's base URL        (live)
      ALPHAFORGE_UNIVERSE  a file that says what to keep        (the one in the package)
      ALPHAFORGE_ALERTS    who is told of trouble: URLs         (nobody; see `alphaforge alerts --help`)
      ALPHAFORGE_REPORTS   a directory, or s3://bucket/prefix   (ALPHAFORGE_HOME/reports)
    """


@main.command()
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Directory to own. [ALPHAFORGE_HOME/warehouse]"
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default="any free one", help="Port on 127.0.0.1."
)
def warehouse(data: Path | None, port: int) -> None:
    """Serve the embedded ClickHouse over HTTP on loopback until interrupted.

    Not needed for the other commands: they use the running one, or start one for their own duration.
    """
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.warehouse.embedded.process import serve

    serve(data or settings_from_environment().home / "warehouse", port)


@main.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8900,
    show_default=True,
    help="Port on 127.0.0.1; 0 for any free one.",
)
@click.option(
    "--recordings",
    type=click.Path(path_type=Path),
    help="Play recorded series from this folder instead of generated prices.",
)
@click.option("--now", help="Fix the venues' clock, as 2025-07-01T00:00:00Z. [the real time]")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other prices.")
def sandbox(port: int, recordings: Path | None, now: str | None, seed: int) -> None:
    """Emulate the venues' REST APIs on loopback until interrupted.

    \b
    Prices are a pure function of seed, venue, symbol and minute.
      GET  /_log      every request so far, as JSON
      POST /_revise   another bar: {"venue": …, "symbol": …, "interval": …, "open_time": ms, "close": …}
      POST /_faults   what fails, how and how often (alphaforge_assets/sandbox/faults.py)
      POST /_clock    {"now": "2025-07-01T00:00:00Z"}: the time at the venues, null for the real one
    """
    from alphaforge_assets.sandbox.process import serve

    moment = _moment("--now", now) if now else None
    serve(port, recordings, moment, seed, on_ready=lambda url: click.echo(f"sandbox: {url}  (ALPHAFORGE_VENUES={url})"))


@main.command()
@click.option("--info", "action", flag_value="info", help="List migrations and their state; change nothing.")
@click.option("--validate", "action", flag_value="validate", help="Compare the files with the history; change nothing.")
@click.option(
    "--repair", "action", flag_value="repair", help="Remove failed rows from the history and realign checksums."
)
def migrate(action: str | None) -> None:
    """Bring the warehouse's schema to what sql/migrations says.

    Files and history are Flyway's, so that Flyway itself can take over on a server.
    """
    from alphaforge_assets.cli.schema import run

    run(action or "migrate")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def universe(as_json: bool) -> None:
    """Show what is kept: venues, instruments, intervals, start of history."""
    from alphaforge_assets.cli.show import show_universe

    show_universe(as_json)


@main.command()
@click.option(
    "--believe",
    multiple=True,
    metavar="VENUE",
    help="Take over the list of this venue although it is less than half of what it was; repeat for others.",
)
def refresh(believe: tuple[str, ...]) -> None:
    """Ask every venue for its clock and instrument list, publish what changed and say what it was."""
    from alphaforge_assets.cli.run import refresh_dimensions

    refresh_dimensions(believe)


@main.command()
@click.option("--datasets", default="bars", show_default=True, help="Comma-separated.")
@click.option(
    "--instruments",
    "patterns",
    multiple=True,
    help="Key or glob, such as 'binance_spot.*'; repeat or separate by commas. Not needed for fear_greed_index.",
)
@click.option("--from", "start", required=True, metavar="DATE", help="First day, UTC, as 2025-05-01.")
@click.option("--to", "end", required=True, metavar="DATE", help="Day after the last, as 2025-05-08.")
@click.option("--refetch", is_flag=True, help="Ask again also for what is complete; changed bars become new versions.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and stop.")
def backfill(datasets: str, patterns: tuple[str, ...], start: str, end: str, refetch: bool, dry_run: bool) -> None:
    """Fetch what is missing of a range and publish it.

    \b
    What is complete is not fetched again, so the same command after an interruption does what is left.
    Exit code 0 if everything asked for is there, 1 with the names of what failed,
    2 for a question that cannot be, 130 after Ctrl-C.

    \b
      alphaforge backfill --instruments 'binance_spot.*' --from 2025-05-01 --to 2025-05-08
      alphaforge backfill --datasets fear_greed_index --from 2018-02-01 --to 2025-05-08
    """
    from alphaforge_assets.backfill.question import ask

    question = ask(
        _words("--datasets", [datasets]),
        _words("--instruments", patterns) if patterns else [],
        _day("--from", start),
        _day("--to", end),
    )

    from alphaforge_assets.cli.run import run_backfill

    failed = run_backfill(question, refetch=refetch, dry_run=dry_run)
    sys.exit(1 if failed else 0)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def status(as_json: bool) -> None:
    """Per instrument and interval: first, last, rows, missing, rejected, age."""
    from alphaforge_assets.cli.show import show_status

    show_status(as_json)


@main.command()
@click.option("--instruments", "patterns", multiple=True, help="Key or glob, such as 'binance_spot.*'. [all]")
@click.option("--all", "all_of_them", is_flag=True, help="Also those that were filled.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with the figures behind each verdict.")
def gaps(patterns: tuple[str, ...], all_of_them: bool, as_json: bool) -> None:
    """What is missing, since when, and why: every gap with its verdict and the evidence."""
    from alphaforge_assets.cli.gaps import show_gaps

    show_gaps(_words("--instruments", patterns) if patterns else (), all_of_them, as_json)


@main.command()
@click.option("--instruments", "patterns", multiple=True, help="Key or glob, such as 'binance_spot.*'. [all]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def coverage(patterns: tuple[str, ...], as_json: bool) -> None:
    """Per instrument and interval: days, bars expected and missing, unexplained ones, and the quality score."""
    from alphaforge_assets.cli.gaps import show_coverage

    show_coverage(_words("--instruments", patterns) if patterns else (), as_json)


@main.command()
@click.option("--venues", type=click.Choice(["live", "sandbox"]), help="Who answers. [ALPHAFORGE_VENUES]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=3000,
    show_default=True,
    help="Port of the Dagster UI; 0 for any free one.",
)
@click.option(
    "--sandbox-port", type=click.IntRange(0, 65535), default=0, show_default="any free one", help="Port of the sandbox."
)
@click.option(
    "--warehouse-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="any free one",
    help="Port of the embedded warehouse.",
)
@click.option(
    "--live/--no-live",
    default=None,
    help="Keep the warehouse up to date by itself, every few minutes. [ALPHAFORGE_LIVE, on]",
)
def up(venues: str | None, port: int, sandbox_port: int, warehouse_port: int, live: bool | None) -> None:
    """Run everything on this machine: warehouse, sandbox if asked, Dagster UI and daemon. One Ctrl-C ends it all."""
    from alphaforge_assets.cli.up import run

    run(venues, port, sandbox_port, warehouse_port, live)


@main.command()
@click.option("--days", type=click.IntRange(1, 30), default=3, show_default=True, help="How many complete days.")
def demo(days: int) -> None:
    """Fill a warehouse from the exchange emulator, through Dagster, and show what came of it. Needs no network."""
    from alphaforge_assets.cli.demo import run

    sys.exit(1 if run(days) else 0)


def _words(option: str, texts: Sequence[str]) -> list[str]:
    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    if not words:
        raise BadInput(f"{option} {','.join(texts)!r}: names nothing")
    return words


def _day(option: str, text: str) -> dt.date:
    try:
        return (
            dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
        )  # fromisoformat knows more forms than people
    except ValueError as error:
        raise BadInput(f"{option} {text!r}: write a day as 2025-05-01") from error


def _moment(option: str, text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{option} {text!r}: write a time as 2025-07-01T00:00:00Z") from error
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


for _command in ("pin", "snapshots", "verify", "diff", "unpin"):
    main.add_command(getattr(snapshots_command, _command))
main.add_command(alerts)
main.add_command(runs)
main.add_command(report)
main.add_command(bars)
main.add_command(export)
main.add_command(plan)
main.add_command(sql)
