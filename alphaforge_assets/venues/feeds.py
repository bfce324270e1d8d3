"""All streams there are, by venue: adding one to the product is its file and its line here."""

from collections.abc import Mapping
from types import MappingProxyType

from alphaforge_assets.venues import binance_feed, bybit_feed, coinbase_feed, kraken_feed, okx_feed
from alphaforge_assets.venues.feed import Feed

_ALL = (*binance_feed.FEEDS, *bybit_feed.FEEDS, *okx_feed.FEEDS, *kraken_feed.FEEDS, *coinbase_feed.FEEDS)
FEEDS: Mapping[str, tuple[Feed, ...]] = MappingProxyType(
    {venue: tuple(feed for feed in _ALL if feed.venue == venue) for venue in dict.fromkeys(one.venue for one in _ALL)}
)
