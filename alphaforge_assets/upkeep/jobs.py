"""What upkeep shares: the jobs it may start, the tag that says so, and whether it works by itself."""

from typing import Any, TypeAlias

import dagster as dg

# What `dg.define_asset_job` returns: Dagster has no public name for it.
AssetJob: TypeAlias = Any

TRIGGER_TAG = "alphaforge/trigger"


def status(running: bool) -> dg.DefaultSensorStatus:
    """Of a sensor that fetches what nobody asked for."""
    return dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED
