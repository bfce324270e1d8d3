"""All venues the sandbox emulates: adding one is its file and its lines here; and an exchange of them all."""

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from alphaforge_assets.sandbox import (
    alternative_me,
    binance,
    binance_streams,
    binance_trades,
    binanceus,
    budgets,
    bybit,
    bybit_streams,
    bybit_trades,
    coinbase,
    coinbase_streams,
    coinbase_trades,
    kraken,
    kraken_streams,
    kraken_trades,
    okx,
    okx_streams,
    okx_trades,
)
from alphaforge_assets.sandbox.budgets import Rule
from alphaforge_assets.sandbox.exchange import Clock, Exchange, milliseconds
from alphaforge_assets.sandbox.listings import PLACES as DEFAULT
from alphaforge_assets.sandbox.listings import Listing, Place
from alphaforge_assets.sandbox.recordings import Recordings
from alphaforge_assets.sandbox.streams import Dialect
from alphaforge_assets.sandbox.wire import Endpoint

PLACES: Mapping[str, Place] = MappingProxyType(
    {place.name: place for place in (*DEFAULT, coinbase.PLACE, kraken.PLACE, binanceus.PLACE)}
)
ENDPOINTS: tuple[Callable[[Exchange], dict[str, Endpoint]], ...] = (
    binance.endpoints,
    binance_streams.endpoints,
    binance_trades.endpoints,
    okx.endpoints,
    okx_trades.endpoints,
    bybit.endpoints,
    bybit_trades.endpoints,
    coinbase_trades.endpoints,
    coinbase.endpoints,
    kraken_trades.endpoints,
    kraken.endpoints,
    binanceus.endpoints,
    alternative_me.endpoints,
)
DIALECTS: tuple[Callable[[Exchange], Dialect], ...] = (
    binance_streams.BinanceStreams,
    okx_streams.OkxStreams,
    bybit_streams.BybitStreams,
    kraken_streams.KrakenStreams,
    coinbase_streams.CoinbaseStreams,
)
RULES: Mapping[str, Rule] = MappingProxyType(
    {**budgets.RULES, **{name: rule for place in PLACES.values() for name, rule in place.rules.items()}}
)
OPEN_STATES = frozenset(place.open_state for place in PLACES.values())


def default_listings() -> tuple[Listing, ...]:
    """Everything the sandbox lists when it generates prices."""
    return tuple(listing for place in PLACES.values() for listing in place.listings())


def venue_symbol(venue: str, base: str, quote: str) -> str:
    """The venue's name for a pair: BTCUSDT, BTC-USDT, BTC-USDT-SWAP."""
    return PLACES[venue].symbol(base, quote)


def open_exchange(
    recordings: Path | None, now: dt.datetime | None, seed: int, okx_history_limit: int = 300
) -> Exchange:
    """An exchange ready to answer. Raises BadInput if `recordings` holds nothing to play."""
    played = Recordings(recordings, PLACES) if recordings else None
    listed = played.listings if played else default_listings()
    clock = Clock(None if now is None else milliseconds(now))
    return Exchange(clock, seed, PLACES, played, {one.key: one for one in listed}, okx_history_limit)
