"""How old may be what we keep up to date: by asset, as Dagster sees its runs, and by instrument, as the tables say.

Dagster's policies look at the latest materialization of any partition, so they tell that nothing runs any more; one
instrument that stopped shows only in the data, which `freshness_per_instrument` asks. Both are silent about history:
a series is kept up to date only if somebody asked for its present of late.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import FRESHNESS, Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.quality.coverage import NEVER_ASKED_MAX
from alphaforge_assets.universe import Instrument
from alphaforge_assets.warehouse import statements

# A window that ended so long before it was asked for was of its present: a live run asks for the last minutes, one of
# healing for the open day. `--to` of today at noon asks for a day that is over, and promises nothing of this one.
PRESENT = dt.timedelta(hours=1)


# The live tail materializes what researchers read of these every four minutes, whatever came: three runs missed, then
# six.
TAILED = dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(minutes=30), warn_window=dt.timedelta(minutes=15))
# The others once a day: tables when a day closes, listings and Fear & Greed by their daily refresh. Two hours for a run
# that waits for its turn or is tried again.
DAILY = dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(hours=26), warn_window=dt.timedelta(hours=25))


def policies() -> dict[str, dg.FreshnessPolicy]:
    """By asset: those that something brings up to date by itself."""
    daily = ("venues", "instruments", *(asset for d in DATASETS.values() for asset in d.run_assets))
    tailed = (d.view for d in DATASETS.values() if d.tail)
    return {**dict.fromkeys(daily, DAILY), **dict.fromkeys(tailed, TAILED)}


def with_policy(asset: Any) -> Any:
    """An asset or the spec of one, with the policy of those that are kept up to date if it is one of them."""

    def policed(spec: dg.AssetSpec) -> dg.AssetSpec:
        policy = policies().get(spec.key.to_user_string())
        return dg.apply_freshness_policy(spec, policy) if policy else spec

    return policed(asset) if isinstance(asset, dg.AssetSpec) else asset.map_asset_specs(policed)


def parameters(dataset: Dataset, instruments: Sequence[Instrument], now: dt.datetime) -> dict[str, Any]:
    """What `freshness_per_instrument` of a dataset is asked with. `now` is this machine's clock."""
    tempo = dataset.tempo
    return {
        "dataset": dataset.name,
        "database": "analytics",
        "table": dataset.name,
        "wanted": [i.instrument_id for i in instruments if i.listed_until is None or i.listed_until > now.date()],
        "now": now,
        "late_s": _seconds(tempo.late),
        "silent_s": _seconds(tempo.silent),
        "present_s": _seconds(PRESENT),
        "never_asked_s": _seconds(NEVER_ASKED_MAX),
    }


def stale(
    client: Client, dataset: Dataset, instruments: Sequence[Instrument], now: dt.datetime
) -> list[dict[str, Any]]:
    """The series of a dataset that are late: venue, symbol, first (since when), what.

    Raises WarehouseDown, WarehouseRefused.
    """
    rule = next(r for r in dataset.every_rule if r.name == FRESHNESS)
    return statements.rows(client, dataset.statement(rule), **parameters(dataset, instruments, now))


def _seconds(span: dt.timedelta) -> int:
    return int(span.total_seconds())
