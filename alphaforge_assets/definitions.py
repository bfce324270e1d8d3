"""The code location: a list of what there is, built when Dagster asks for it. Nothing is defined here."""

from collections.abc import Mapping

import dagster as dg

from alphaforge_assets.alerts.sensor import send_alerts
from alphaforge_assets.datasets import DATASETS, Dataset
from alphaforge_assets.partitions import by_day, day_by_instrument
from alphaforge_assets.pipeline import dimensions, landing, mart, staging
from alphaforge_assets.quality import checks, coverage, freshness
from alphaforge_assets.report import daily
from alphaforge_assets.resources import ExchangesResource, UniverseResource, WarehouseResource
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import Universe, load_universe
from alphaforge_assets.upkeep import runs as audit
from alphaforge_assets.upkeep import sensors
from alphaforge_assets.upkeep import tail as live


@dg.definitions
def alphaforge() -> dg.Definitions:
    """The graph for the universe of the environment."""
    resources = {
        "warehouse": WarehouseResource(),
        "exchanges": ExchangesResource(),
        "universe": UniverseResource(),
    }
    settings = settings_from_environment()
    return build(load_universe(settings.universe_file), resources, live_updates=settings.live_updates)


def build(universe: Universe, resources: Mapping[str, object], *, live_updates: bool = True) -> dg.Definitions:
    """The graph for one universe, working with the given warehouse, exchanges and universe.

    Without `live_updates` nothing is fetched that nobody asked for, until somebody turns the schedule on in the UI.
    """
    chains = {d.name: _chain(d, universe) for d in DATASETS.values()}
    jobs = {
        name: dg.define_asset_job(
            f"refresh_{name}", selection=chain, description=f"Land, stage, publish and judge a range of {name}."
        )
        for name, chain in chains.items()
    }
    listings = dg.define_asset_job(
        "refresh_listings",
        selection=[dimensions.venues_and_instruments],
        description="Ask every venue for its clock and its listings, and publish what changed.",
    )
    materializable = dg.with_source_code_references(
        [
            dimensions.venues_and_instruments,
            *(a for c in chains.values() for a in c),
            daily.asset(by_day(universe.history_start)),
        ]
    )
    above = (dimensions, landing, staging, mart, coverage, audit)
    specs = [spec for module in above for spec in module.specs()]
    return dg.Definitions(
        assets=[freshness.with_policy(a) if live_updates else a for a in (*materializable, *specs)],
        asset_checks=checks.asset_checks(),
        jobs=[*jobs.values(), listings, live.live_tail],
        schedules=[live.schedule(running=live_updates), daily.schedule()],
        sensors=[
            sensors.split_failed_runs(universe, jobs),
            sensors.heal_gaps(jobs),
            sensors.day_close(jobs, running=live_updates),
            sensors.keep_listings(listings, running=live_updates),
            sensors.forget_live_runs(running=live_updates),
            send_alerts(universe),
            audit.record_runs,
        ],
        resources=resources,
        executor=dg.in_process_executor,
    )


def _chain(dataset: Dataset, universe: Universe) -> list[dg.AssetsDefinition]:
    """Landing, staging and mart of a dataset, on the same partitions."""
    start = dataset.starts(universe)
    partitions: dg.PartitionsDefinition[str] = (
        by_day(start) if dataset.only else day_by_instrument(start, dataset.instruments(universe))
    )
    above = [landing.asset(dataset, partitions), staging.asset(dataset, partitions)]
    if "coverage" in dataset.followed_by:
        return [*above, mart.asset(dataset, partitions), coverage.asset(dataset, partitions)]
    return [*above, mart.asset(dataset, partitions, coverage.after_publication)]
