"""The Dagster UI in a real browser over a running `up`: every page of ours loads whole, and says what it should.

Screenshots go to the folder ALPHAFORGE_SCREENSHOTS, or to the test's own: look at them when the UI has changed.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from alphaforge_assets.quality.checks import every_check
from alphaforge_assets_tests.installed import Filled

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LOADED_MS = 30_000


@dataclass
class Seen:
    """An open page, what went wrong on it so far, and where its pictures go."""

    page: Page
    ui: str
    folder: Path
    trouble: list[str] = field(default_factory=list)

    def open(self, path: str, *words: str) -> None:
        """Go there, and wait until each of `words` shows."""
        self.page.goto(f"{self.ui}{path}")
        for word in words:
            expect(self.page.get_by_text(word).first).to_be_visible(timeout=LOADED_MS)

    def picture(self, name: str) -> None:
        self.page.wait_for_timeout(1500)  # what the page still fetches and draws
        self.page.screenshot(path=self.folder / f"{name}.png")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def seen(browser: Browser, filled_up: Filled, tmp_path: Path) -> Iterator[Seen]:
    """A page that notes every failed request, error answer and error on its console, and must end without any."""
    folder = Path(os.environ.get("ALPHAFORGE_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": 1500, "height": 950})
    it = Seen(page, filled_up.up.ui, folder)
    page.on("requestfailed", lambda r: it.trouble.append(f"failed: {r.method} {r.url} {r.failure}"))
    page.on("response", lambda r: it.trouble.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    page.on("pageerror", lambda error: it.trouble.append(f"page error: {error}"))
    page.on("console", lambda m: it.trouble.append(f"console: {m.text}") if m.type == "error" else None)
    yield it
    # A page that is left gives up what it was still asking for.
    trouble = [t for t in it.trouble if "net::ERR_ABORTED" not in t]
    page.close()
    assert trouble == []


LAYERS = {
    "dimensions": ("venues", "instruments"),
    "landing": ("landing_bars", "ingest_batches"),
    "staging": ("staging_bars", "rejected_rows"),
    "mart": ("bars", "bars_history"),
    "research": ("v_bars", "v_instruments"),
}


def test_lineage_shows_every_table_from_the_venues_to_the_views(seen: Seen) -> None:
    seen.page.set_viewport_size({"width": 3600, "height": 3400})  # a graph drawn small leaves out the names
    seen.open("/asset-groups", *LAYERS)
    seen.picture("lineage")
    for layer, tables in LAYERS.items():
        seen.open(f"/locations/alphaforge/asset-groups/{layer}", *tables)
        seen.picture(f"lineage-{layer}")
    bars = sum(rule.asset == "bars" for rule in every_check())
    seen.open("/assets/bars?view=lineage&lineageScope=upstream", "staging_bars", f"{bars} / {bars} Passed")
    seen.picture("lineage-bars")


def test_catalog_lists_the_assets(seen: Seen) -> None:
    seen.page.set_viewport_size({"width": 1500, "height": 3000})  # the list draws only what is in view
    seen.open("/assets", "landing_bars", "v_instruments")
    seen.picture("catalog")


def test_page_of_bars_shows_columns_and_row_count(seen: Seen) -> None:
    seen.open("/assets/bars?view=overview", "analytics.bars", "quote_volume", "Amount traded, in base", "Row count")
    row_count = re.compile(r"^\d{2,3},\d{3}$")
    expect(seen.page.get_by_text(row_count).first).to_be_visible(timeout=LOADED_MS)
    seen.picture("bars")


def test_partitions_of_bars_show_days_and_instruments(seen: Seen) -> None:
    seen.open("/assets/bars?view=partitions", "okx_perp.BTC-USDT", "Materialized")
    seen.picture("partitions")


def test_checks_of_bars_were_evaluated(seen: Seen) -> None:
    seen.open("/assets/bars?view=checks", "minutes_are_complete", "key_is_unique")
    seen.picture("checks")
    expect(seen.page.get_by_text("Passed").first).to_be_visible(timeout=LOADED_MS)


def test_runs_show_the_backfill(seen: Seen, filled_up: Filled) -> None:
    seen.open("/runs", "Success")
    seen.picture("runs")
    run = filled_up.state["runs"][0]["id"]
    seen.open(f"/runs/{run}", "landing_bars", "Success")
    seen.picture("run")


def test_backfill_sensor_and_deployment_pages_load(seen: Seen, filled_up: Filled) -> None:
    seen.open("/runs?view=backfills")
    seen.open(f"/runs/b/{filled_up.up.first_backfill}", "bars", "100%")
    seen.picture("backfill")
    seen.open("/automation", "split_failed_runs")
    seen.picture("automation")
    seen.open("/deployment/daemons", "Running")
    seen.picture("daemons")
    seen.open("/locations", "alphaforge", "Loaded")
    seen.picture("locations")
