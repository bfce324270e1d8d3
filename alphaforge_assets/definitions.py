"""The code location: a list of what there is, built when Dagster asks for it. Nothing is defined here."""

from collections.abc import Mapping, Sequence

import dagster as dg

from alphaforge_assets import assets
from alphaforge_assets.alerts.sensor import send_alerts
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.partitions import by_day
from alphaforge_assets.pipeline import dimensions
from alphaforge_assets.quality import checks, freshness
from alphaforge_assets.report import daily
from alphaforge_assets.resources import ExchangesResource, UniverseResource, WarehouseResource
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import Instrument, Universe, load_universe
from alphaforge_assets.upkeep import archives, day_close, failed_runs, healing, listings, old_runs, runs, tail
from alphaforge_assets.upkeep.jobs import job_name


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
    kept = [d for d in DATASETS.values() if d.instruments(universe)]
    chains = {d.name: assets.chain(d, universe) for d in kept}
    jobs = {
        name: dg.define_asset_job(
            job_name(DATASETS[name]),
            selection=chain,
            description=f"Land, stage, publish and judge a range of {name}.",
        )
        for name, chain in chains.items()
    }
    list_job = dg.define_asset_job(
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
    specs = [*dimensions.specs(), *assets.specs(kept), *runs.specs()]
    return dg.Definitions(
        assets=[freshness.with_policy(a) if live_updates else a for a in (*materializable, *specs)],
        asset_checks=checks.asset_checks(kept),
        jobs=[*jobs.values(), list_job, tail.live_tail, archives.watch_archives],
        schedules=[
            tail.schedule(running=live_updates),
            daily.schedule(),
            archives.schedule(running=live_updates),
        ],
        sensors=[
            failed_runs.split_failed_runs(universe, jobs),
            healing.heal_gaps(jobs),
            day_close.day_close(jobs, running=live_updates),
            listings.keep_listings(list_job, running=live_updates),
            old_runs.forget_live_runs(running=live_updates),
            send_alerts(universe),
            runs.record_runs,
        ],
        resources=resources,
        executor=dg.in_process_executor,
    )


def of_one_dataset(
    dataset: Dataset, universe: Universe, resources: Mapping[str, object], only: Sequence[Instrument]
) -> dg.JobDefinition:
    """The job that brings one dataset up to date, on partitions of `only` these instruments.

    Where the command line executes a run itself, the instruments chosen are neighbours, so one run has them all. Keys,
    assets and checks are those of the whole graph.
    """
    chain = assets.chain(dataset, universe, only)
    names = {key.to_user_string() for asset in chain for key in asset.keys}
    its = checks.asset_checks([dataset])
    held = [c for c in its if all(k.asset_key.to_user_string() in names for k in c.check_keys)]
    definitions = dg.Definitions(assets=chain, asset_checks=held, resources=resources, executor=dg.in_process_executor)
    return definitions.resolve_implicit_global_asset_job_def()
