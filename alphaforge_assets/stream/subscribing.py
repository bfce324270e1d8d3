"""What is heard where: the instruments of a universe, their names on streams, and the feeds that tell their bars."""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.venues.directory import REST, Exchanges
from alphaforge_assets.venues.feed import Feed
from alphaforge_assets.venues.feeds import FEEDS
from alphaforge_assets.venues.source import Patience
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.listings import publish_listings, venue_symbols

INTERVAL = "1m"
PATIENCE = Patience(request_s=10.0, total_s=10.0, attempts=2)  # who waits for it asks again


@dataclass(frozen=True)
class Heard:
    """An instrument with its names: on the stream, and on REST."""

    instrument: Instrument
    name: str
    venue_symbol: str


def bar_feeds(venue: str) -> list[Feed]:
    """The feeds that tell a venue's bars as bars. (Coinbase's minutes would have to be made of trades.)"""
    return [f for f in FEEDS.get(venue, ()) if "bars" in f.kinds and f.closes != "trades"]


def streamed(universe: Universe) -> list[Instrument]:
    """The instruments whose bars of 1m are kept and told by a stream."""
    if INTERVAL not in universe.intervals:
        return []
    return [i for i in universe.instruments if i.listed_until is None and bar_feeds(i.venue)]


def names_of(
    warehouse: Callable[[], AbstractContextManager[Client]], exchanges: Exchanges, venue: str, its: Sequence[Instrument]
) -> list[Heard]:
    """The names of instruments of a venue; it is asked for its list if we never saw it.

    What it does not list is left out; `warehouse` is not held while a venue is asked. Raises what `Connection` raises,
    WarehouseDown, WarehouseRefused.
    """
    with warehouse() as client:
        known = venue_symbols(client, [venue], its)
    if not all((i.venue, i.symbol) in known for i in its):
        with exchanges.open(REST[venue], PATIENCE) as connection:
            listings = connection.fetch_listings()
        with warehouse() as client:
            publish_listings(client, listings, dt.datetime.now(dt.UTC))
            known = venue_symbols(client, [venue], its)
    named = bar_feeds(venue)[0].named
    with warehouse() as client:
        rows = statements.rows(client, "reads/listing_infos", venues=[venue]) if named else []
    infos = {row["symbol"]: row["info"] for row in rows}
    heard = []
    for instrument in its:
        name = known.get((instrument.venue, instrument.symbol))
        if name is None:
            continue
        info = json.loads(infos.get(instrument.symbol) or "{}") if named else {}
        heard.append(Heard(instrument, named(name, info) if named else name, name))
    return heard


def shared_out(heard: Sequence[Heard], feed: Feed) -> Iterator[list[Heard]]:
    """As many as one connection takes."""
    for n in range(0, len(heard), feed.channels_max):
        yield list(heard[n : n + feed.channels_max])
