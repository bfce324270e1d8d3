"""The `alphaforge` command: its subcommands, one a module of that name, and what becomes of an error.

A module here has its command first, then the work, then what is printed. To load it takes milliseconds, so that
`--help` and a mistyped option are answered at once: what loads longer (settings and warehouse half a second, pandas and
Dagster more) is imported where it is used, and its types under TYPE_CHECKING.

Exit codes: 0 done; 1 something failed, and the message says whether a rerun helps; 2 the question itself cannot be;
130 interrupted.
"""

import gc
import os
import signal
import sys
from typing import Any

import click

from alphaforge_assets.cli.alerts import alerts
from alphaforge_assets.cli.backfill import backfill
from alphaforge_assets.cli.backup import backup, restore
from alphaforge_assets.cli.bars import bars
from alphaforge_assets.cli.coverage import coverage
from alphaforge_assets.cli.demo import demo
from alphaforge_assets.cli.doctor import doctor
from alphaforge_assets.cli.export import export
from alphaforge_assets.cli.gaps import gaps
from alphaforge_assets.cli.ingest import ingest
from alphaforge_assets.cli.liquidations import liquidations
from alphaforge_assets.cli.migrate import migrate
from alphaforge_assets.cli.plan import plan
from alphaforge_assets.cli.rebuild_status import rebuild_status
from alphaforge_assets.cli.refresh import refresh
from alphaforge_assets.cli.replay import replay
from alphaforge_assets.cli.report import report
from alphaforge_assets.cli.runs import runs
from alphaforge_assets.cli.sandbox import sandbox
from alphaforge_assets.cli.screen import complain
from alphaforge_assets.cli.snapshots import diff, pin, snapshots, unpin, verify
from alphaforge_assets.cli.sql import sql
from alphaforge_assets.cli.status import status
from alphaforge_assets.cli.stream import stream
from alphaforge_assets.cli.trades import trades
from alphaforge_assets.cli.universe import universe
from alphaforge_assets.cli.up import up
from alphaforge_assets.cli.warehouse import warehouse
from alphaforge_assets.errors import AlphaForgeError

COMMANDS = (alerts, backfill, backup, bars, coverage, demo, diff, doctor, export, gaps, ingest, liquidations, migrate,
            pin, plan, rebuild_status, refresh, replay, report, restore, runs, sandbox, snapshots, sql, status, stream,
            trades, universe, unpin, up, verify, warehouse)  # fmt: skip


class Command(click.Group):
    """Turns our errors into one message and their class's exit code; anything else is a bug and keeps its traceback."""

    def invoke(self, context: click.Context) -> Any:
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            return super().invoke(context)
        except AlphaForgeError as error:
            complain(f"alphaforge: {error}")
            context.exit(error.exit_code)
        except KeyboardInterrupt:
            complain("alphaforge: interrupted; the same command again does what is left")
            sys.stdout.flush()
            os._exit(130)  # threads may be waiting for a venue, and nothing is lost by not waiting with them
        finally:
            gc.freeze()  # the process ends: a last look for garbage would take half a second, for nothing


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@click.group(
    cls=Command,
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="alphaforge-assets")
def main() -> None:
    """Crypto market data from exchanges into ClickHouse: provably complete, provably reproducible.

    \b
    First steps
      alphaforge demo                 a small warehouse from the exchange emulator, in a minute
      alphaforge up --venues sandbox  everything at once: warehouse, emulator, Dagster UI and daemon
      alphaforge backfill --help      fetch a range
      alphaforge status               what there is
      alphaforge doctor               what is wrong here, and what to do

    \b
    Environment
      ALPHAFORGE_HOME      where everything is kept             (.alphaforge)
      CLICKHOUSE_URL       http://user:password@host:port       (unset: the embedded warehouse of the home)
      ALPHAFORGE_VENUES    live, or a sandbox's base URL        (live)
      ALPHAFORGE_UNIVERSE  a file that says what to keep        (the one in the package)
      ALPHAFORGE_ALERTS    who is told of trouble: URLs         (nobody; see `alphaforge alerts --help`)
      ALPHAFORGE_REPORTS   a directory, or s3://bucket/prefix   (ALPHAFORGE_HOME/reports)
      ALPHAFORGE_RAW       words of venues, of trades; or off   (ALPHAFORGE_HOME/raw)
    """


if __name__ == "__main__":  # as a part of `up`
    main()
