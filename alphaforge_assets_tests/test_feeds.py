"""The directory of feeds: each is of a venue there is, listens where the sandbox does, and is raised by no bytes."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.sandbox.binance_streams import PATHS as BINANCE
from alphaforge_assets.sandbox.bybit_streams import PATHS as BYBIT
from alphaforge_assets.sandbox.okx_streams import PATHS as OKX
from alphaforge_assets.venues.directory import VENUES
from alphaforge_assets.venues.feed import Feed, Notice
from alphaforge_assets.venues.feeds import FEEDS

ALL = [feed for feeds in FEEDS.values() for feed in feeds]
PATHS = {**BINANCE, **BYBIT, **OKX}


@pytest.mark.parametrize("feed", ALL, ids=lambda feed: feed.path)
def test_a_feed_fits_its_venue(feed: Feed) -> None:
    assert feed.url.startswith("wss://")
    assert (feed.trades is not None) == ("trades" in feed.kinds)
    assert bool(feed.ping) == (feed.ping_s > 0)
    assert 1 <= feed.connects.burst <= feed.connects.limit
    if feed.path in PATHS:
        assert feed.venue.startswith(PATHS[feed.path])  # OKX has one place for all its markets


def test_each_kind_of_a_venue_is_told_by_one_of_its_feeds() -> None:
    assert set(FEEDS) <= set(VENUES)
    for venue, feeds in FEEDS.items():
        kinds = Counter(kind for feed in feeds for kind in feed.kinds)
        assert set(kinds.values()) == {1}
        assert set(kinds) >= {"trades", "quotes", "books"}
        assert ("liquidations" in kinds) == venue.endswith("_perp")


@given(st.binary(max_size=200))
def test_no_bytes_make_a_feed_raise(message: bytes) -> None:
    for feed in ALL:
        (one,) = feed.parse(message)
        assert isinstance(one, Notice)
