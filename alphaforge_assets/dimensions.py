"""Venues and instruments as the venues themselves describe them, refreshed from their listings."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.described import described
from alphaforge_assets.errors import AlphaForgeError
from alphaforge_assets.resources import Exchanges
from alphaforge_assets.universe import Universe
from alphaforge_assets.venues.venue import Listing
from alphaforge_assets.warehouse.listings import publish_listings, publish_venues


def refresh(client: Client, exchanges: Exchanges, universe: Universe) -> tuple[dict[str, int], dict[str, str]]:
    """Ask every venue of the universe for its clock and listings, and publish what changed.

    Returns (versions added by venue, error by venue that did not answer): one venue's trouble is not another's.
    Raises WarehouseDown, WarehouseRefused.
    """

    def observe(venue: str) -> tuple[dict[str, object], list[Listing]] | AlphaForgeError:
        try:
            with exchanges.open(venue) as connection:
                clock, ours = connection.fetch_server_time(), dt.datetime.now(dt.UTC)
                listings = connection.fetch_listings()
        except AlphaForgeError as error:
            return error
        row = {
            "venue": venue,
            "exchange": connection.venue.exchange,
            "market_type": venue.rpartition("_")[2],
            "origin": exchanges.origin,
            "instruments_listed": len(listings),
            "instruments_active": sum(x.is_active for x in listings),
            "clock_skew_ms": round((clock - ours).total_seconds() * 1000),
            "observed_at": ours,
        }
        return row, listings

    added: dict[str, int] = {}
    errors: dict[str, str] = {}
    rows: list[dict[str, object]] = []
    with ThreadPoolExecutor(max_workers=len(universe.venues), thread_name_prefix="listing") as pool:
        for venue, outcome in zip(universe.venues, pool.map(observe, universe.venues), strict=True):
            if isinstance(outcome, AlphaForgeError):
                errors[venue] = f"{type(outcome).__name__}: {outcome}"
            else:
                row, listings = outcome
                rows.append(row)
                added[venue] = publish_listings(client, listings, dt.datetime.now(dt.UTC))
    if rows:
        publish_venues(client, rows)
    return added, errors


@dg.multi_asset(
    name="venues_and_instruments",
    specs=[
        dg.AssetSpec("venues", **described("venues")),
        dg.AssetSpec("instruments", deps=["venues"], **described("instruments")),
    ],
)
def venues_and_instruments(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Client],
    exchanges: dg.ResourceParam[Exchanges],
    universe: dg.ResourceParam[Universe],
) -> tuple[dg.MaterializeResult[None], dg.MaterializeResult[None]]:
    """One visit to each venue gives both tables."""
    added, errors = refresh(warehouse, exchanges, universe)
    if errors:
        raise dg.Failure(
            description="; ".join(f"{venue}: {error}" for venue, error in sorted(errors.items())),
            metadata={"versions_added": added, "failed_venues": sorted(errors)},
        )
    return (
        dg.MaterializeResult(asset_key="venues", metadata={"dagster/row_count": len(added)}),
        dg.MaterializeResult(
            asset_key="instruments", metadata={"versions_added": sum(added.values()), "by_venue": added}
        ),
    )
