"""`alphaforge rebuild-status`: partitions whose statuses were lost have them again, what is proved and nothing else."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from clickhouse_connect.driver.client import Client

from alphaforge_assets import instance
from alphaforge_assets.backup.statuses import proved, rebuild, without_status
from alphaforge_assets.cli.main import main
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.universe import load_universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.schema import open_current
from alphaforge_assets_tests.installed import Installed, requests_of

OF_BARS, OF_FUNDING = (DATASETS[name].run_assets for name in ("bars", "funding_rates"))
ASSETS = (*OF_BARS, *OF_FUNDING)
ASKED = ["--datasets", "bars,funding_rates", "--instruments", "binance_perp.BTC-USDT,bybit_perp.ETH-USDT"]
DAYS = ["--from", "2025-05-01", "--to", "2025-05-04"]


@dataclass(frozen=True)
class Home:
    """A home and the venues it asks; commands run in this process, which has loaded Dagster already."""

    folder: Path
    venues: str

    def well(self, *words: str) -> str:
        seen = {"ALPHAFORGE_HOME": str(self.folder), "ALPHAFORGE_VENUES": self.venues, "HOME": str(self.folder.parent)}
        done = CliRunner().invoke(main, list(words), env=seen)
        assert done.exit_code == 0, done.output
        return done.output


@pytest.fixture(scope="module")
def filled(template: Path, tmp_path_factory: pytest.TempPathFactory, exchange: Exchanges) -> Iterator[Home]:
    """Three days of bars and funding of two instruments, in a home whose warehouse runs."""
    assert exchange.base_url
    installed = Installed(tmp_path_factory.mktemp("filled")).furnished(template)
    home = Home(installed.home, exchange.base_url)
    with open_current(home.folder):
        home.well("backfill", *ASKED, *DAYS)
        yield home


def done(dagster: dg.DagsterInstance) -> dict[str, set[str]]:
    """Materialized partitions of each asset."""
    return {name: dagster.get_materialized_partitions(dg.AssetKey(name)) for name in ASSETS}


def latest(dagster: dg.DagsterInstance, asset: str) -> dg.AssetMaterialization:
    event = dagster.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def test_lost_statuses_are_as_they_were_and_a_run_asks_nothing(filled: Home) -> None:
    folder = filled.folder / "dagster"
    with instance.opened(folder) as dagster:
        before = done(dagster)
        told = {name: latest(dagster, name).metadata for name in ASSETS}
    assert {name: len(keys) for name, keys in before.items()} == dict.fromkeys(ASSETS, 6)
    shutil.rmtree(folder)
    assert "would be recorded; nothing was" in filled.well("rebuild-status", "--dry-run")
    with instance.opened(folder) as dagster:
        assert not any(done(dagster).values())
    assert "48 partition statuses recorded" in filled.well("rebuild-status")
    with instance.opened(folder) as dagster, open_current(filled.folder) as client:
        assert done(dagster) == before
        for name in ASSETS:
            assert latest(dagster, name).metadata.keys() == told[name].keys() | {"rebuilt_from"}
        assert latest(dagster, "bars").metadata["rows_in_range"].value == 1440 + 24
        assert latest(dagster, "bars").metadata["dagster/row_count"] == told["bars"]["dagster/row_count"]
        again = [without_status(dagster, load_universe(), its) for its in proved(client, load_universe())]
        assert sum(len(its.partitions) for its in again) == 0
        rebuild(dagster, again)
        assert len(dagster.fetch_materializations(dg.AssetKey("bars"), limit=100).records) == 6
    asked = len(requests_of(filled.venues))
    assert filled.well("backfill", *ASKED, *DAYS).count("nothing to do") == 2
    assert len(requests_of(filled.venues)) == asked
    what_is_not_whole_is_not_proved(filled)  # last, for it does harm


def proved_of_bars(client: Client) -> dict[str, set[str]]:
    """`<day of May> <exchange>` of each asset's partitions."""
    found = {its.asset: its for its in proved(client, load_universe())}
    return {
        asset: {f"{key[9]} {key.partition('|')[2].partition('_')[0]}" for key in found[asset].partitions}
        for asset in OF_BARS
    }


def deleted(client: Client, table: str, where: str) -> None:
    client.command(f"ALTER TABLE analytics.{table} DELETE WHERE {where} SETTINGS mutations_sync = 2")


def what_is_not_whole_is_not_proved(filled: Home) -> None:
    """A crash leaves a table behind the one before it, or a page that came without its line in the ledger."""
    everything = {f"{day} {venue}" for day in (1, 2, 3) for venue in ("binance", "bybit")}
    with open_current(filled.folder) as client:
        assert proved_of_bars(client) == dict.fromkeys(OF_BARS, everything)
        for table, where in (
            ("staging_bars", "venue = 'binance_perp' AND timestamp = '2025-05-01 12:00:00' AND interval = '1m'"),
            ("bars", "venue = 'binance_perp' AND timestamp = '2025-05-02 12:00:00' AND interval = '1m'"),
            ("bars_history", "venue = 'binance_perp' AND timestamp = '2025-05-03 12:00:00' AND interval = '1m'"),
            ("coverage", "venue = 'bybit_perp' AND day = '2025-05-02'"),
            ("runs", "1"),
        ):
            deleted(client, table, where)
        assert proved_of_bars(client) == {
            "landing_bars": everything,
            "staging_bars": everything - {"1 binance"},
            "bars": {"1 bybit", "2 bybit", "3 bybit"},
            "coverage": {"1 bybit", "3 bybit"},
        }
        deleted(client, "ingest_batches", "venue = 'bybit_perp' AND interval = '1h' AND dataset = 'bars'")
        assert proved_of_bars(client)["landing_bars"] == {"1 binance", "2 binance", "3 binance"}
        assert proved_of_bars(client)["bars"] == set()


def test_a_warehouse_that_does_not_answer_leaves_everything_as_it_was(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    refused = installed.run("rebuild-status", CLICKHOUSE_URL="http://default@127.0.0.1:9")
    assert refused.returncode == 1
    assert "127.0.0.1:9" in refused.stderr
    assert not installed.home.exists()
