"""What assets are given to work with: the warehouse, the exchanges, the universe."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.settings import Settings, settings_from_environment
from alphaforge_assets.universe import Universe, load_universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.client import open_warehouse


def exchanges_of(settings: Settings) -> Exchanges:
    """The venues that the settings name."""
    return Exchanges(settings.origin, settings.venues_url, settings.governor_file, settings.keys, trail=settings.raw)


class WarehouseResource(dg.ConfigurableResource[Client]):
    """The warehouse of the environment: CLICKHOUSE_URL, or the embedded one of ALPHAFORGE_HOME."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Client]:
        settings = settings_from_environment()
        with open_warehouse(settings.home, settings.clickhouse_url) as client:
            yield client


class ExchangesResource(dg.ConfigurableResource[Exchanges]):
    """The venues of the environment: ALPHAFORGE_VENUES."""

    def create_resource(self, context: dg.InitResourceContext) -> Exchanges:
        return exchanges_of(settings_from_environment())


class UniverseResource(dg.ConfigurableResource[Universe]):
    """The universe of the environment: ALPHAFORGE_UNIVERSE."""

    def create_resource(self, context: dg.InitResourceContext) -> Universe:
        return load_universe(settings_from_environment().universe_file)
