"""Generated prices: pure, consistent between intervals, on the venue's grid and plausible."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alphaforge_assets.sandbox import binance, okx
from alphaforge_assets.sandbox.bars import COLUMNS, SUMMED, Bars, Interval, group, partial
from alphaforge_assets.sandbox.directory import OPEN_STATES, default_listings, venue_symbol
from alphaforge_assets.sandbox.prices import BLOCK, Generated, Market
from alphaforge_assets.sandbox.text import Column, render
from alphaforge_assets.universe import load_universe

LISTINGS = {listing.key: listing for listing in default_listings()}
TRADED = [key for key, listing in LISTINGS.items() if listing.status in OPEN_STATES]
MARKET = Market(7)
MINUTE = Interval(60_000)
FIRST, LAST = (int(dt.datetime(y, 1, 1, tzinfo=dt.UTC).timestamp()) // 60 for y in (2017, 2030))
keys = st.sampled_from(TRADED)
minutes = st.integers(FIRST, LAST)


def generated(key: tuple[str, str], interval: Interval = MINUTE, market: Market = MARKET) -> Generated:
    return Generated(market, LISTINGS[key], interval)


def same(left: Bars, right: Bars) -> bool:
    return left.scales == right.scales and all(np.array_equal(getattr(left, n), getattr(right, n)) for n in COLUMNS)


@settings(max_examples=40, deadline=None)
@given(keys, minutes, st.integers(1, 3000), st.data())
def test_a_minute_does_not_depend_on_the_page_it_is_asked_in(key, start, length, data):
    low = data.draw(st.integers(0, length - 1))
    high = data.draw(st.integers(low + 1, length))
    whole = generated(key).bars(start, start + length)
    part = generated(key, market=Market(7)).bars(start + low, start + high)
    assert same(whole.slice(low, high), part)


def test_a_page_may_begin_anywhere_around_a_block():
    first = (FIRST // BLOCK + 1000) * BLOCK - 45
    whole = generated(TRADED[0]).bars(first, first + 100)
    for low in range(90):
        assert same(generated(TRADED[0]).bars(first + low, first + low + 4), whole.slice(low, low + 4))


@settings(max_examples=25, deadline=None)
@given(keys, minutes, st.sampled_from([*binance.INTERVALS.values(), *okx.BARS.values()]))
def test_a_coarse_bar_is_exactly_its_minutes(key, minute, interval):
    index = interval.index(minute * 60_000)
    coarse = generated(key, interval).bars(index, index + 1)
    fine = generated(key).bars(interval.opens(index) // 60_000, interval.opens(index + 1) // 60_000)
    assert coarse.open_time[0] == fine.open_time[0]
    assert coarse.close_time[0] == fine.close_time[-1]
    assert (coarse.open[0], coarse.close[0]) == (fine.open[0], fine.close[-1])
    assert (coarse.high[0], coarse.low[0]) == (fine.high.max(), fine.low.min())
    for name in SUMMED:
        assert getattr(coarse, name)[0] == getattr(fine, name).sum()
    assert same(group(fine, interval), coarse)


@settings(max_examples=40, deadline=None)
@given(keys, minutes)
@example(("kraken_spot", "XDGUSD"), 24_720_480)  # a cheap coin of many lots: price times volume is past 63 bits
def test_bars_are_sane_and_on_the_venues_grid(key, start):
    listing, bars = LISTINGS[key], generated(key).bars(start, start + 500)
    assert (bars.low > 0).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    for name in ("open", "high", "low", "close"):
        assert not (getattr(bars, name) % listing.tick).any()
    assert not (bars.volume % listing.lot).any()
    assert ((bars.volume == 0) == (bars.count == 0)).all()
    assert (bars.taker_volume <= bars.volume).all()
    assert (bars.taker_volume >= 0).all()
    assert (bars.taker_quote_volume <= bars.quote_volume).all()
    value, decimals = listing.base_per_volume
    cut = 10 ** (listing.price_decimals + decimals - listing.scales.quote)
    quote, volume = bars.quote_volume.astype(object), bars.volume.astype(object) * value
    assert (quote * cut <= bars.high * volume).all()
    assert ((quote + 1) * cut >= bars.low * volume).all()
    traded = bars.count > 0
    assert (bars.open[~traded] == bars.close[~traded]).all()


@settings(max_examples=30, deadline=None)
@given(keys, minutes)
def test_a_minute_opens_where_the_one_before_closed(key, start):
    bars = generated(key).bars(start, start + 500)
    both = (bars.count[1:] > 0) & (bars.count[:-1] > 0)
    jump = np.abs(bars.open[1:] - bars.close[:-1])[both]
    assert (jump <= LISTINGS[key].tick).all()


def test_seeds_venues_and_the_ratio_of_pairs():
    start = int(dt.datetime(2025, 6, 3, tzinfo=dt.UTC).timestamp()) // 60

    def closes(venue: str, base: str, quote: str, market: Market = MARKET) -> np.ndarray:
        bars = generated((venue, venue_symbol(venue, base, quote)), market=market).bars(start, start + 1440)
        return bars.close / 10**bars.scales.price

    btc = closes("binance_spot", "BTC", "USDT")
    assert not np.array_equal(btc, closes("binance_spot", "BTC", "USDT", Market(8)))
    for venue in ("binance_perp", "okx_spot", "okx_perp", "bybit_spot"):
        difference = closes(venue, "BTC", "USDT") / btc - 1
        assert 0 < np.abs(difference).max() < 0.002
    ratio = closes("binance_spot", "SOL", "USDT") / btc
    assert np.abs(closes("binance_spot", "SOL", "BTC") / ratio - 1).max() < 0.005


@pytest.mark.parametrize(("asset", "low", "high"), [("BTC", 30e3, 160e3), ("ETH", 1000, 6000), ("SOL", 40, 400)])
def test_levels_of_2024_to_2026_are_those_of_the_market(asset, low, high):
    day = Interval(86_400_000)
    first = day.index(int(dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp() * 1000))
    bars = generated(("binance_spot", f"{asset}USDT"), day).bars(first, first + 1000)
    assert low < bars.low.min() / 100
    assert bars.high.max() / 100 < high
    yearly = np.diff(np.log(bars.close)).std() * 365**0.5
    assert 0.25 < yearly < 1.5


def test_the_day_has_a_pattern_and_volume_follows_the_moves():
    bars = generated(("binance_spot", "BTCUSDT")).bars(FIRST + 1440 * 3000, FIRST + 1440 * 3100)
    by_hour = bars.volume.reshape(100, 24, 60).mean(axis=(0, 2))
    assert by_hour[14:17].mean() > 1.5 * by_hour[3:6].mean()
    move = np.abs(np.log(bars.close / bars.open))
    assert np.corrcoef(move, bars.volume)[0, 1] > 0.2
    hourly = np.abs(np.diff(np.log(bars.close[::60])))
    assert np.corrcoef(hourly[1:], hourly[:-1])[0, 1] > 0.03  # a wild hour follows a wild hour


def test_a_delisted_symbol_has_bars_only_while_it_was_listed():
    listing = LISTINGS["binance_spot", "XMRUSDT"]
    series = generated(listing.key, Interval(86_400_000))
    first, stop = series.first_at_or_after(0), series.first_at_or_after(1 << 50)
    assert series.interval.opens(first) == listing.listed_ms
    assert series.interval.opens(stop) == listing.delisted_ms
    assert series.open_index(listing.delisted_ms - 1) == stop - 1
    assert series.open_index(listing.delisted_ms) is None


def test_the_default_universe_is_listed_and_open():
    for instrument in load_universe().instruments:
        symbol = venue_symbol(instrument.venue, instrument.base, instrument.quote)
        listing = LISTINGS[instrument.venue, symbol]
        assert listing.status in OPEN_STATES
        assert listing.listed_ms <= int(
            dt.datetime.combine(instrument.listed_from, dt.time(), dt.UTC).timestamp() * 1000
        )


@settings(max_examples=60, deadline=None)
@given(keys, minutes, st.floats(0, 0.999))
def test_a_running_bar_lies_inside_the_closed_one(key, minute, elapsed):
    listing = LISTINGS[key]
    closed = generated(key).bars(minute, minute + 1)
    running = partial(closed, elapsed, listing.tick, listing.lot)
    assert closed.low[0] <= running.low[0] <= min(running.open[0], running.close[0])
    assert closed.high[0] >= running.high[0] >= max(running.open[0], running.close[0])
    assert running.open[0] == closed.open[0]
    assert abs(running.close[0] - running.open[0]) <= abs(closed.close[0] - closed.open[0])
    begun = partial(closed, 0.0)
    assert begun.open[0] == begun.high[0] == begun.low[0] == begun.close[0]
    assert not any(getattr(begun, name)[0] for name in SUMMED)
    assert not any(getattr(running, name)[0] % listing.tick for name in ("high", "low", "close"))
    if closed.volume[0]:
        assert running.volume[0] < closed.volume[0]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-(10**17), 10**18), max_size=5),
    st.integers(0, 9),
    st.integers(0, 10),
    st.booleans(),
)
def test_text_is_what_python_would_print(values, decimals, shown, plain):
    text = render([Column(np.array(values, np.int64), decimals, 0 if plain else shown, plain)], [b"<", b">"])
    rows = []
    for value in values:
        places = decimals if plain else max(decimals, shown)
        digits = str(abs(value)).rjust(decimals + 1, "0")
        whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
        fraction = fraction.ljust(places, "0")
        fraction = fraction.rstrip("0") if plain else fraction
        rows.append("<" + "-" * (value < 0) + whole + "." * bool(fraction) + fraction + ">")
    assert bytes(text.data).decode() == "".join(rows)
    assert [bytes(text.rows(i, i + 1)).decode() for i in range(len(rows))] == rows
