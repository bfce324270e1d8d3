"""The asset graph as a whole: its shape, what the UI is told about it, and that the dictionary tells the truth."""

import subprocess
import sys

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.catalog import dictionary
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.definitions import build
from alphaforge_assets.quality.checks import every_check
from alphaforge_assets.universe import load_universe

GOLDEN = {
    "venues": ("dimensions", []),
    "instruments": ("dimensions", ["venues"]),
    "venues_history": ("dimensions", ["venues"]),
    "landing_bars": ("landing", ["instruments"]),
    "archive_files": ("landing", ["landing_bars"]),
    "ingest_batches": ("landing", ["landing_bars", "landing_fear_greed_index", "landing_funding_rates"]),
    "staging_bars": ("staging", ["landing_bars"]),
    "rejected_rows": ("staging", ["landing_bars", "landing_fear_greed_index", "landing_funding_rates"]),
    "bars": ("mart", ["staging_bars"]),
    "bars_history": ("mart", ["staging_bars"]),
    "coverage": ("mart", ["bars", "ingest_batches", "instruments"]),
    "funding_rates_coverage": ("mart", ["funding_rates", "ingest_batches", "instruments"]),
    "fear_greed_index_coverage": ("mart", ["fear_greed_index", "ingest_batches"]),
    "gaps": ("mart", ["bars", "fear_greed_index", "funding_rates", "ingest_batches", "instruments"]),
    "v_bars": ("research", ["bars"]),
    "derived_bars": ("mart", ["bars"]),
    "v_derived_bars": ("research", ["derived_bars"]),
    "landing_fear_greed_index": ("landing", []),
    "staging_fear_greed_index": ("staging", ["landing_fear_greed_index"]),
    "fear_greed_index": ("mart", ["staging_fear_greed_index"]),
    "fear_greed_index_history": ("mart", ["staging_fear_greed_index"]),
    "v_fear_greed": ("research", ["fear_greed_index"]),
    "landing_funding_rates": ("landing", ["instruments"]),
    "staging_funding_rates": ("staging", ["landing_funding_rates"]),
    "funding_rates": ("mart", ["staging_funding_rates"]),
    "funding_rates_history": ("mart", ["staging_funding_rates"]),
    "v_funding": ("research", ["funding_rates"]),
    "v_coverage": ("research", ["coverage"]),
    "v_gaps": ("research", ["gaps"]),
    "v_instruments": ("research", ["instruments"]),
    "v_instruments_history": ("research", ["instruments"]),
    "snapshots": ("mart", ["bars_history", "fear_greed_index_history", "funding_rates_history"]),
    "snapshot_hashes": ("mart", ["bars_history", "fear_greed_index_history", "funding_rates_history"]),
    "v_snapshots": ("research", ["snapshots"]),
    "runs": ("audit", ["ingest_batches"]),
    "v_runs": ("research", ["runs"]),
    "v_reconciliation": ("research", ["landing_bars"]),
    "v_ingest_batches": ("research", ["ingest_batches"]),
    "quality_report": ("research", ["bars_history", "rejected_rows", "v_coverage", "v_gaps", "v_ingest_batches"]),
}
FILES = {"quality_report"}  # assets that are no table
CHAIN = ("landing_bars", "staging_bars", "bars", "coverage")


JUDGES = {d.judged_by for d in DATASETS.values()}  # each writes its share of one table


def definitions() -> dg.Definitions:
    nothing = {name: object() for name in ("warehouse", "exchanges", "universe")}
    return build(load_universe(), nothing)


def specs() -> dict[str, dg.AssetSpec]:
    return {s.key.to_user_string(): s for s in definitions().resolve_all_asset_specs()}


def test_the_graph_is_the_one_drawn() -> None:
    found = {name: (s.group_name, sorted(d.asset_key.to_user_string() for d in s.deps)) for name, s in specs().items()}
    assert found == GOLDEN


def test_the_chain_shares_partitions_and_policy_so_that_it_shares_runs() -> None:
    assets = {name: definitions().resolve_assets_def(name) for name in CHAIN}
    assert len({a.partitions_def for a in assets.values()}) == 1
    assert len({a.backfill_policy for a in assets.values()}) == 1


def test_every_asset_tells_the_ui_what_it_is() -> None:
    for name, spec in specs().items():
        assert spec.description, name
        assert spec.owners == ["team:market-data"], name
        if name in FILES:
            continue
        assert "clickhouse" in spec.kinds, name
        assert (
            spec.metadata["dagster/table_name"]
            == f"analytics.{'coverage' if name.endswith('_coverage') and name != 'v_coverage' else name}"
        )
        schema = spec.metadata["dagster/column_schema"]
        columns = schema.schema.columns if hasattr(schema, "schema") else schema.columns
        assert columns, name
        assert all(c.description for c in columns), name
    for name in (*CHAIN, *FILES, "venues", "instruments"):
        assert "dagster/code_references" in specs()[name].metadata, name


def test_the_rules_are_what_the_issue_asks_for() -> None:
    assert {r.name for r in every_check()} >= {
        "key_is_unique",
        "ohlc_is_sane",
        "prices_are_positive",
        "volume_is_not_negative",
        "rows_are_inside_the_day",
        "required_columns_are_not_null",
        "landing_is_accounted_for",
        "minutes_are_complete",
    }


def test_the_dictionary_is_the_databases_own(migrated: Client) -> None:
    rows = migrated.query(
        "SELECT table, name, type, comment FROM system.columns WHERE database = 'analytics' ORDER BY table, position"
    ).result_rows
    actual: dict[str, list[tuple[str, str, str]]] = {}
    for table, name, kind, comment in rows:
        actual.setdefault(table, []).append((name, kind, comment))
    for name, described in dictionary().items():
        assert list(described.columns) == actual[name], name
    comments = dict(migrated.query("SELECT name, comment FROM system.tables WHERE database = 'analytics'").result_rows)
    assert {n: d.comment for n, d in dictionary().items()} == {n: comments[n] for n in dictionary()}


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda d: d.name)
def test_columns_keep_their_place_from_judgement_to_mart(dataset: Dataset, migrated: Client) -> None:
    """The statements of staging and mart go by it: they name no column but the key."""

    def columns(name: str) -> list[str]:
        rows = migrated.query(
            "SELECT name FROM system.columns WHERE database = 'analytics' AND table = {t:String}"
            " AND default_kind NOT IN ('ALIAS', 'MATERIALIZED') ORDER BY position",
            parameters={"t": dataset.tables[name]},
        )
        return [name for (name,) in rows.result_rows]

    judged = columns("judged")
    assert judged[-4:] == ["is_final", "rule", "row_hash", "row"]
    if dataset.id:  # an event has one version, and staging alone needs to know which
        assert columns("current") == [*(c for c in judged[:-4] if c != "version"), "published_at"]
        key = ["timestamp", dataset.series, dataset.id]
    else:
        assert columns("history") == columns("current") == [*judged[:-4], "published_at"]
        key = [dataset.series, "timestamp"]
    assert columns("staging") == ["instrument_id", "venue", "symbol", *key, "version"]


def test_each_module_imports_alone_and_quietly() -> None:
    """In a fresh interpreter: no cycle, nothing printed, and research without Dagster or chdb."""
    code = (
        "import sys, alphaforge_assets.research as r; heavy = {'dagster', 'chdb', 'ccxt'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    code = "import alphaforge_assets.definitions, sys; assert 'chdb' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
