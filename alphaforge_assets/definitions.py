"""The code location: a list of what there is, built when Dagster asks for it. Nothing is defined here."""

from collections.abc import Mapping

import dagster as dg

from alphaforge_assets import checks, dimensions, landing, mart, sensors, staging
from alphaforge_assets.partitions import day_by_instrument
from alphaforge_assets.resources import ExchangesResource, UniverseResource, WarehouseResource
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import Universe, load_universe


@dg.definitions
def alphaforge() -> dg.Definitions:
    """The graph for the universe of the environment."""
    resources = {
        "warehouse": WarehouseResource(),
        "exchanges": ExchangesResource(),
        "universe": UniverseResource(),
    }
    return build(load_universe(settings_from_environment().universe_file), resources)


def build(universe: Universe, resources: Mapping[str, object]) -> dg.Definitions:
    """The graph for one universe, working with the given warehouse, exchanges and universe."""
    partitions = day_by_instrument(universe)
    chain = [landing.bars_asset(partitions), staging.bars_asset(partitions), mart.bars_asset(partitions)]
    bars = dg.define_asset_job(
        "refresh_bars", selection=chain, description="Land, stage and publish the bars of a range."
    )
    return dg.Definitions(
        assets=[
            *dg.with_source_code_references([dimensions.venues_and_instruments, *chain]),
            *landing.specs(),
            *staging.specs(),
            *mart.specs(),
        ],
        asset_checks=checks.asset_checks(),
        jobs=[bars],
        sensors=[sensors.split_failed_runs(universe, bars)],
        resources=resources,
        executor=dg.in_process_executor,
    )
