"""Venues and instruments as the venues themselves describe them, refreshed from their listings."""

import datetime as dt
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.catalog import described, record_beside
from alphaforge_assets.errors import AlphaForgeError, VenueUnavailable
from alphaforge_assets.universe import Universe
from alphaforge_assets.venues.directory import REST, VENUES, Exchanges
from alphaforge_assets.venues.source import Listing
from alphaforge_assets.warehouse.listings import Change, publish_listings, publish_venues

CHANGES_SHOWN_MAX = 50


def refresh_listings(
    client: Client, exchanges: Exchanges, universe: Universe, believe: Collection[str] = ()
) -> tuple[dict[str, list[Change]], dict[str, str]]:
    """Ask every venue of the universe for its clock and listings, and publish what changed.

    Returns (changes by venue, error by venue that did not answer, or whose list is not believed): one venue's trouble
    is not another's. `believe` names venues whose list is taken over however short. Raises WarehouseDown,
    WarehouseRefused.
    """

    def observe(venue: str) -> tuple[dict[str, object], list[Listing]] | AlphaForgeError:
        try:
            with exchanges.open(REST[venue]) as connection:
                clock, ours = connection.fetch_server_time(), dt.datetime.now(dt.UTC)
                listings = connection.fetch_listings()
        except AlphaForgeError as error:
            return error
        row = {
            "venue": venue,
            "exchange": VENUES[venue].exchange,
            "market_type": venue.rpartition("_")[2],
            "origin": exchanges.origin,
            "instruments_listed": len(listings),
            "instruments_active": sum(x.is_active for x in listings),
            "clock_skew_ms": round((clock - ours).total_seconds() * 1000),
            "observed_at": ours,
        }
        return row, listings

    changes: dict[str, list[Change]] = {}
    errors: dict[str, str] = {}
    rows: list[dict[str, object]] = []
    unreachable: list[dict[str, object]] = []
    with ThreadPoolExecutor(max_workers=len(universe.venues), thread_name_prefix="listing") as pool:
        for venue, outcome in zip(universe.venues, pool.map(observe, universe.venues), strict=True):
            now = dt.datetime.now(dt.UTC)
            if not isinstance(outcome, AlphaForgeError):
                row, listings = outcome
                try:
                    changes[venue] = publish_listings(client, listings, now, believe=venue in believe)
                    rows.append(row)
                except VenueUnavailable as error:
                    outcome = error
            if isinstance(outcome, AlphaForgeError):
                errors[venue] = f"{type(outcome).__name__}: {outcome}"
                unreachable.append(
                    {"venue": venue, "observed_at": now, "origin": exchanges.origin, "error": errors[venue]}
                )
    publish_venues(client, rows, unreachable)
    return changes, errors


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
    changes, errors = refresh_listings(warehouse, exchanges, universe)
    every = [change for its in changes.values() for change in its]
    added = {venue: len(its) for venue, its in changes.items()}
    record_beside(context, "venues_history", {"venues_reached": dg.MetadataValue.int(len(changes))})
    if errors:
        raise dg.Failure(
            description="; ".join(f"{venue}: {error}" for venue, error in sorted(errors.items())),
            metadata={"versions_added": added, "failed_venues": sorted(errors)},
        )
    shown = [_record(change) for change in every if change.kind != "new"][:CHANGES_SHOWN_MAX]
    metadata: dict[str, Any] = {
        "versions_added": len(every),
        "by_venue": added,
        "by_kind": dict(Counter(c.kind for c in every)),
    }
    if shown:
        metadata["changes"] = dg.MetadataValue.table(shown)
    return (
        dg.MaterializeResult(asset_key="venues", metadata={"dagster/row_count": len(changes)}),
        dg.MaterializeResult(asset_key="instruments", metadata=metadata),
    )


def specs() -> list[dg.AssetSpec]:
    """Tables and views beside the dimensions, shown in the lineage."""
    return [
        dg.AssetSpec("venues_history", deps=["venues"], **described("venues_history")),
        dg.AssetSpec("v_instruments", deps=["instruments"], **described("v_instruments")),
        dg.AssetSpec("v_instruments_history", deps=["instruments"], **described("v_instruments_history")),
    ]


def _record(change: Change) -> dg.TableRecord:
    return dg.TableRecord(
        {"venue": change.venue, "symbol": change.symbol, "kind": change.kind, "changes": changed_fields(change)}
    )


def changed_fields(change: Change) -> str:
    """`tick_size 0.01 → 0.1, …`; empty for a new instrument."""
    return ", ".join(f"{name} {before} → {now}" for name, (before, now) in change.fields.items())
