"""What assets are given to work with: the warehouse, the exchanges, the universe."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.settings import Settings, settings_from_environment
from alphaforge_assets.universe import Universe, load_universe
from alphaforge_assets.venues.alternative_me import Index, open_index
from alphaforge_assets.venues.connection import Connection, Patience, open_venue
from alphaforge_assets.warehouse.client import open_warehouse


@dataclass(frozen=True)
class Exchanges:
    """Opens connections to venues, live or sandbox."""

    settings: Settings

    @property
    def origin(self) -> str:
        return self.settings.origin

    def open(self, venue: str, patience: Patience | None = None) -> Connection:
        return open_venue(
            venue,
            patience=patience or Patience(),
            base_url=self.settings.venues_url,
            governor_file=self.settings.governor_file,
            api_key=self.settings.keys.get(venue),
        )

    def open_index(self) -> Index:
        """The source of Fear & Greed."""
        return open_index(base_url=self.settings.venues_url, governor_file=self.settings.governor_file)


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
        return Exchanges(settings_from_environment())


class UniverseResource(dg.ConfigurableResource[Universe]):
    """The universe of the environment: ALPHAFORGE_UNIVERSE."""

    def create_resource(self, context: dg.InitResourceContext) -> Universe:
        return load_universe(settings_from_environment().universe_file)
