"""What venues list: asked for once a day, and at once where that never happened."""

import datetime as dt

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.universe import Universe
from alphaforge_assets.upkeep.jobs import TRIGGER_TAG, AssetJob, status
from alphaforge_assets.warehouse import statements

LISTINGS_LOOK_EVERY_S = 300
LISTINGS_KEPT = dt.timedelta(days=1)


def keep_listings(job: AssetJob, *, running: bool) -> dg.SensorDefinition:
    """Asks the venues for their clocks and listings once a day, and at once where that never happened."""

    @dg.sensor(
        name="keep_listings",
        job=job,
        minimum_interval_seconds=LISTINGS_LOOK_EVERY_S,
        default_status=status(running),
        description="Refreshes venues and instruments when what is known of one is a day old; hourly while one fails.",
    )
    def keep_listings(
        context: dg.SensorEvaluationContext,
        warehouse: dg.ResourceParam[Client],
        universe: dg.ResourceParam[Universe],
    ) -> dg.RunRequest | dg.SkipReason:
        now = dt.datetime.now(dt.UTC)
        seen = {row["venue"]: row["observed_at"] for row in statements.rows(warehouse, "reads/venues_observed")}
        old = [v for v in universe.venues if v not in seen or now - seen[v] >= LISTINGS_KEPT]
        if not old:
            return dg.SkipReason("all venues were asked within a day")
        return dg.RunRequest(run_key=f"listings:{now:%Y-%m-%dT%H}", tags={TRIGGER_TAG: "keep_listings"})

    return keep_listings
