"""Takes the pictures of docs/screenshots.md and writes that page: `make screenshots`.

A real `alphaforge up` with the sandbox's venues and live updates, in a home of its own: filled, wronged once (a page
that came empty, an instrument that was refused) and revised once, so that gaps, verdicts, failures and versions show.
Pages are taken with the system's Chromium; what the commands print is drawn from its escape codes. Five minutes.
"""

import datetime as dt
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO, StringIO
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Error, expect, sync_playwright
from rich.console import Console
from rich.text import Text

from alphaforge_assets_tests.installed import ENDS, SCRIPT, Installed, Up, call, fault, started_up, until

PAGE = Path(__file__).with_name("screenshots.md")
FOLDER = PAGE.with_suffix("")
UNIVERSE = """\
history_start: {start}
intervals: [1m, 1h]
venues:
  binance_spot: {{instruments: [BTC/USDT, ETH/USDT, SOL/USDT]}}
  okx_spot: {{instruments: [BTC/USDT, ETH/USDT, SOL/USDT]}}
  bybit_spot: {{instruments: [BTC/USDT]}}
  okx_perp: {{instruments: [BTC/USDT]}}
"""
TODAY = dt.datetime.now(dt.UTC).date()
DAY = dt.timedelta(days=1)
FIRST, LAST = TODAY - 2 * DAY, TODAY - DAY  # of what is filled; LAST is yesterday
SKIPPED, REFUSED = "binance_spot.SOL-USDT", "binance_spot.ETH-USDT"
STUDY = ("--instruments", "binance_spot.*", "--interval", "1h", "--from", str(FIRST), "--to", str(TODAY))
RANGE = ("--from", str(FIRST), "--to", str(TODAY))

WIDTH, HEIGHT = 1400, 900
COLORS = 64  # a screen has few; this makes a picture a third of its size
LOADED_MS = 60_000
BUSY_MS = 15_000
DRAWN_MS = 2500  # what a page still fetches and draws after its words are there
FILLED_S_MAX = 600.0
COLUMNS = 112


@dataclass(frozen=True)
class View:
    """A page to take a picture of, when each of `words` shows on it; `width` and `height` are the window's."""

    name: str
    path: str
    words: tuple[str, ...]
    caption: str
    width: int = WIDTH
    height: int = HEIGHT
    scheme: Literal["light", "dark"] = "light"


@dataclass(frozen=True)
class Command:
    """A command whose output is a picture."""

    name: str
    words: tuple[str, ...]
    caption: str


VIEWS = (
    View(
        "lineage",
        "/asset-groups",
        ("landing", "research"),
        "Lineage: from the venues' answers through landing, staging and mart to the views that researchers read.",
        2600,
        1500,
    ),
    View(
        "catalog",
        "/assets",
        ("landing_bars", "v_bars"),
        "The catalog: every table and view is an asset, with its layer, its kinds and when it was last renewed.",
        WIDTH,
        2200,
    ),
    View(
        "bars",
        "/assets/bars?view=overview",
        ("analytics.bars", "Amount traded, in base", "Row count"),
        "One asset, `bars`: what it is, its checks, rows, owner, freshness policy and the meaning of every column.",
        WIDTH,
        1500,
    ),
    View(
        "bars-lineage",
        "/assets/bars?view=lineage",
        ("staging_bars", "v_bars"),
        "What `bars` is made of and what is made of it.",
        1800,
        900,
    ),
    View(
        "bars-checks",
        "/assets/bars?view=checks",
        ("key_is_unique", "minutes_are_complete"),
        "The rules that every bar is held to: one SQL file each, with how grave a breach is.",
    ),
    View(
        "bars-partitions",
        "/assets/bars?view=partitions",
        ("Materialized", "okx_perp.BTC-USDT"),
        "Partitions are days × instruments.",
    ),
    View(
        "runs",
        "/runs",
        ("live_tail", "Success"),
        "Runs: the live tail, the days that closed, backfills by hand, and the one that failed.",
    ),
    View(
        "automation",
        "/automation",
        ("heal_gaps", "daily_quality_report"),
        "What starts runs by itself: closing days, healing gaps, live updates, reports; and what tells people.",
    ),
    View(
        "live-tail",
        "/locations/alphaforge/schedules/live_tail",
        ("live_tail", "Tick history"),
        "The live tail: every four minutes one run takes all closed bars of all venues.",
    ),
    View(
        "snapshots",
        "/assets/snapshots?view=overview",
        ("analytics.snapshots", "pinned_at"),
        "A snapshot that was pinned on the command line is on record in the UI, with the hash of its content.",
        WIDTH,
        1300,
    ),
    View(
        "report-asset",
        "/assets/quality_report?view=overview",
        ("headline", "standing"),
        "The daily quality report, linked from its asset.",
    ),
    View(
        "report",
        f"/reports/{LAST}/report.html",
        ("instruments on 5 venues",),
        "The report itself: one page that needs no network, to be sent to people outside.",
        1200,
        1700,
    ),
    View(
        "report-dark",
        f"/reports/{LAST}/report.html",
        ("instruments on 5 venues",),
        "The same at night.",
        1200,
        900,
        "dark",
    ),
)
COMMANDS = (
    Command("status", ("status",), "What there is: first and last bar, rows, missing bars, score."),
    Command("gaps", ("gaps", "--all"), "What is or was missing, with a verdict and its evidence."),
    Command(
        "plan",
        ("plan", "--instruments", "okx_spot.*", "--from", str(TODAY - 90 * DAY), "--to", str(TODAY)),
        "What a backfill would cost, before it is started.",
    ),
    Command("run-list", ("runs", "--last", "12"), "The audit: what ran, who started it, and how it ended."),
    Command("alerts", ("alerts",), "What is wrong now and who was told."),
    Command(
        "diff", ("diff", "study1"), "A pinned snapshot and today: the one bar that the venue revised, both versions."
    ),
)


@dataclass(frozen=True)
class Commands:
    """The `alphaforge` command in the home of the running `up`, with its venues, universe and receiver."""

    installed: Installed
    environment: dict[str, str]

    def said(self, *words: str, ends_well: bool = True, **more: str) -> str:
        """What a command prints. Ends the program if it fails that must not, or takes longer than it ever should."""
        done = subprocess.run(
            [SCRIPT, *words],
            env=self.installed.environment(**self.environment | more),
            cwd=self.installed.root,
            capture_output=True,
            text=True,
            timeout=FILLED_S_MAX,
            check=False,
        )
        if ends_well and done.returncode:
            sys.exit(f"alphaforge {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr


@contextmanager
def receiver() -> Iterator[str]:
    """The URL of a webhook that takes every alert."""

    class Taken(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Taken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/team"
        server.shutdown()


def fill(up: Up, us: Commands) -> None:
    """Days of all instruments, one fault of each kind, one snapshot, one revision, one report."""
    fault(up.venues, path="/api/v3/klines", symbol="SOLUSDT", kind="empty", skip=1, times=6)
    us.said("backfill", "--instruments", SKIPPED, "--from", str(FIRST), "--to", str(FIRST + DAY))
    fault(up.venues, path="/api/v3/klines", symbol="ETHUSDT", kind="status", status=451, times=100)
    us.said("backfill", "--instruments", REFUSED, "--from", str(FIRST - DAY), "--to", str(FIRST), ends_well=False)
    call(f"{up.venues}/_faults", method="DELETE")
    us.said("backfill", "--datasets", "bars,funding_rates,fear_greed_index", "--instruments", "*", *RANGE)
    us.said("pin", "study1", *STUDY)
    revise(up, us)
    until(lambda: any(r.job_name == "live_tail" and r.is_success for r in us.installed.runs()), FILLED_S_MAX, every_s=3)
    made = up.backfill(("quality_report",), [str(LAST)])
    until(lambda: up.backfill_state(made)["status"] in ENDS, FILLED_S_MAX, every_s=1)


def revise(up: Up, us: Commands) -> None:
    """One hour of one instrument becomes another at the venue, and is fetched again."""
    bar = us.said("bars", "binance_spot.BTC-USDT", "1h", *RANGE, "--json")
    then = next(row for row in json.loads(bar) if dt.datetime.fromisoformat(row["timestamp"]).hour == 12)
    opened = dt.datetime.fromisoformat(then["timestamp"])
    revised = {"open_time": int(opened.timestamp() * 1000), "volume": f"{float(then['volume']) + 1.5:.5f}"}
    bar_of = {"venue": "binance_spot", "symbol": "BTC/USDT", "interval": "1h"}
    call(f"{up.venues}/_revise", json.dumps(bar_of | revised).encode())
    day = ("--from", str(opened.date()), "--to", str(opened.date() + DAY))
    us.said("backfill", "--refetch", "--instruments", "binance_spot.BTC-USDT", *day)


def taken(browser: Browser, ui: str, view: View) -> bool:
    """Take one page as it looks; False if it never shows what it should."""
    page = browser.new_page(viewport={"width": view.width, "height": view.height}, color_scheme=view.scheme)
    try:
        page.goto(f"{ui}{view.path}")
        for word in view.words:
            expect(page.get_by_text(word).first).to_be_visible(timeout=LOADED_MS)
    except (AssertionError, Error) as error:
        print(f"{view.name}: {error}", file=sys.stderr, flush=True)
        return False
    with suppress(AssertionError):  # a page that is still busy elsewhere is no reason to have none
        for word in ("Loading...", "fetching statuses"):
            expect(page.get_by_text(word)).to_have_count(0, timeout=BUSY_MS)
    page.wait_for_timeout(DRAWN_MS)
    keep(view.name, page.screenshot())
    page.close()
    return True


def draw(browser: Browser, us: Commands, command: Command) -> None:
    """What a command prints, as a terminal shows it."""
    said = us.said(*command.words, ends_well=False, COLUMNS=str(COLUMNS), FORCE_COLOR="1", TERM="xterm-256color")
    console = Console(record=True, width=COLUMNS, file=StringIO())
    console.print(Text.from_ansi(said))
    svg = console.export_svg(title="alphaforge " + " ".join(command.words))
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.set_content(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))  # the fonts are somewhere else
    keep(command.name, page.locator("svg").first.screenshot())
    page.close()


def keep(name: str, png: bytes) -> None:
    """Write a picture with as few colours and points as it needs."""
    image = Image.open(BytesIO(png)).convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, image.height * WIDTH // image.width), Image.Resampling.LANCZOS)
    image.quantize(COLORS, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)
    print(f"{name}.png", flush=True)


def text() -> str:
    """The page that shows the pictures."""
    chart = View("chart", "", (), "`alphaforge bars KEY 1h --plot chart.html`: candles, volume, and the gaps marked.")
    parts = [
        "# Screenshots\n\nMade by `make screenshots` from a running `alphaforge up --venues sandbox`; do not edit."
        " The prices are the sandbox's, the rest is real.\n"
    ]
    for title, its in (("The Dagster UI", VIEWS), ("A chart", (chart,)), ("The command line", COMMANDS)):
        parts.append(f"## {title}\n")
        parts += [
            f"{p.caption}\n\n![{p.name}](screenshots/{p.name}.png)\n"
            for p in its
            if (FOLDER / f"{p.name}.png").exists()
        ]
    return "\n".join(parts)


def main() -> None:
    """Everything, into docs/."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if chromium is None:
        sys.exit("no Chromium on the PATH")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as root, receiver() as told, sync_playwright() as playwright:
        installed = Installed(Path(root))
        universe = installed.root / "universe.yaml"
        universe.write_text(UNIVERSE.format(start=TODAY - 365 * DAY))
        environment = {"ALPHAFORGE_UNIVERSE": str(universe), "ALPHAFORGE_ALERTS": told}
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        with started_up(installed, "--live", **environment) as up:
            us = Commands(installed, environment | {"ALPHAFORGE_VENUES": up.venues})
            fill(up, us)
            for command in COMMANDS:
                draw(browser, us, command)
            us.said("bars", SKIPPED, "1h", *RANGE, "--plot", "chart.html")
            taken(browser, "", View("chart", (installed.root / "chart.html").as_uri(), (), "", 1200, 700))
            missing = [view.name for view in VIEWS if not taken(browser, up.ui, view)]
        browser.close()
    PAGE.write_text(text(), encoding="utf-8")
    if missing:
        sys.exit(f"not taken: {', '.join(missing)}")


if __name__ == "__main__":
    main()
