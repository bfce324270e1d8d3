"""What upkeep shares: the jobs it may start and what runs of them are of, the tag that says so, who works by itself."""

from typing import Any, TypeAlias

import dagster as dg

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS

# What `dg.define_asset_job` returns: Dagster has no public name for it.
AssetJob: TypeAlias = Any

TRIGGER_TAG = "alphaforge/trigger"


def job_name(dataset: Dataset) -> str:
    """The job that refreshes a range of a dataset."""
    return f"refresh_{dataset.name}"


def assets_of(run: dg.DagsterRun) -> list[str]:
    """Names of the assets that a run is of: those selected for it, else, as a run of a job selects none, its job's."""
    if run.asset_selection:
        return sorted(key.to_user_string() for key in run.asset_selection)
    return sorted(name for d in DATASETS.values() if run.job_name == job_name(d) for name in d.run_assets)


def status(running: bool) -> dg.DefaultSensorStatus:
    """Of a sensor that fetches what nobody asked for."""
    return dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED
