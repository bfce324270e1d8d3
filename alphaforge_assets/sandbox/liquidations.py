"""Liquidations of generated perpetuals, as Binance's daily snapshots had them until March 2024.

A pure function of (seed, venue, symbol, day): one a second at most, near the price that is traded then, more of longs
when the minute fell. One in fifty is told twice, and of some days there is no file at all.
"""

import numpy as np

from alphaforge_assets.sandbox.bars import DAY_MS, MINUTE_MS, Interval, Ints
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.prices import Generated, Market, hashed_words

ENDED_MS = 1_711_929_600_000  # 2024-04-01
BEGAN_MS = 1_698_796_800_000  # 2023-11-01; the venue had them from 2020 on
MISSING_EVERY = 41  # days
HEADER = (
    "time,side,order_type,time_in_force,original_quantity,price,average_price,order_status,last_fill_quantity,"
    "accumulated_fill_quantity\n"
)


def days(listing: Listing, now_ms: int) -> Ints:
    """The days of which there is a file."""
    first = max(listing.listed_ms, BEGAN_MS) // DAY_MS + 1
    last = min(now_ms, ENDED_MS, listing.delisted_ms or ENDED_MS) // DAY_MS
    every = np.arange(first, max(first, last), dtype=np.int64)
    return np.asarray(every[every % MISSING_EVERY != 0] * DAY_MS)


def rows(market: Market, listing: Listing, day_ms: int) -> list[str]:
    """The lines of a day, in the order of time."""
    first = day_ms // MINUTE_MS
    minutes = np.arange(first, first + DAY_MS // MINUTE_MS, dtype=np.int64)
    words = hashed_words(market.seed, f"liquidations/{listing.venue}/{listing.symbol}", minutes)
    u = words[:, None].view(np.uint16).T / 65_536.0
    bars = Generated(market, listing, Interval(MINUTE_MS)).bars(first, first + len(minutes))
    scale, lot = listing.price_decimals, listing.volume_decimals
    told: list[str] = []
    for n in np.flatnonzero((u[0] < 0.25) & (bars.volume > 0)):
        fell = bars.close[n] < bars.open[n]
        side = "SELL" if u[1][n] < (0.8 if fell else 0.2) else "BUY"
        average = (int(bars.low[n]) + int(bars.high[n])) // 2
        limit = average * (995 if side == "SELL" else 1005) // 1000
        amount = f"{max(1, int(u[2][n] * 500)) * listing.lot / 10**lot:.{lot}f}"
        time = int(minutes[n]) * MINUTE_MS + int(u[3][n] * 60_000)
        line = f"{time},{side},LIMIT,IOC,{amount},{limit / 10**scale:.{scale}f},{average / 10**scale:.{scale}f},FILLED,"
        told.append(f"{line}{amount},{amount}\n")
        if u[2][n] < 0.02:
            told.append(told[-1])
    return told
