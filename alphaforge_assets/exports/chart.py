"""Candlestick charts of one instrument: a page of HTML that needs no network, or a PNG.

A chart never draws more candles than it has room for: bars are summed into longer ones (first open, highest high,
lowest low, last close, added volume), and the chart says so. A stretch without bars stays empty, marked with what the
ledger of gaps says of it.
"""

import datetime as dt
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alphaforge_assets.errors import BadInput
from alphaforge_assets.intervals import STEP_MS
from alphaforge_assets.verdicts import EXPLAINED

TEMPLATE = Path(__file__).with_name("chart.html")
HTML_CANDLES_MAX = 20_000  # about a megabyte; the page sums further to what the window has room for
PNG_CANDLES_MAX = 400
STEPS_MIN = (1, 2, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1440, 2 * 1440, 4 * 1440, 7 * 1440)
PLACES_MAX = 10
UP, DOWN, GAP, QUIET = "#17966b", "#d64545", "#d98e04", "#8a94a6"


@dataclass(frozen=True)
class Gap:
    """A stretch without bars, [start, end), and its verdict ("" if nobody judged it)."""

    start: dt.datetime
    end: dt.datetime
    verdict: str
    evidence: str


@dataclass(frozen=True)
class Chart:
    """Candles of `step_ms` made of `bars` bars of `interval`; `candles` is indexed by open time, without empty ones."""

    title: str
    interval: str
    bars: int
    start: dt.datetime
    end: dt.datetime
    step_ms: int
    candles: pd.DataFrame
    gaps: tuple[Gap, ...]

    @property
    def caption(self) -> str:
        """What is drawn, honestly."""
        whole = f"{self.bars:,} bars of {self.interval}"
        if self.step_ms == STEP_MS[self.interval]:
            return whole
        return f"{whole}, summed into {len(self.candles):,} candles of {span(self.step_ms)}"


def chart(
    title: str, interval: str, bars: pd.DataFrame, known_gaps: Sequence[Mapping[str, Any]], candles_max: int
) -> Chart:
    """A chart of bars as `Research.bars` gives them. `known_gaps` are rows of v_gaps of this series.

    Raises BadInput if there is nothing to draw.
    """
    if bars.empty:
        raise BadInput(f"{title}: there are no {interval} bars in this range, so there is nothing to draw")
    interval_ms = STEP_MS[interval]
    times = bars.index.as_unit("ms").astype("int64").to_numpy()  # type: ignore[attr-defined]
    step_ms = _step(int(times[-1] - times[0]) + interval_ms, interval_ms, candles_max)
    if step_ms == interval_ms:
        candles = bars[["open", "high", "low", "close", "volume"]].set_axis(pd.Index(times), axis=0)
    else:
        rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
        candles = bars.groupby(times // step_ms * step_ms).agg(rules)
    gaps = _gaps(times, interval_ms, known_gaps)
    end = _utc(int(times[-1]) + interval_ms)
    return Chart(title, interval, len(bars), _utc(int(times[0])), end, step_ms, candles, gaps)


def write_html(drawn: Chart, path: Path) -> None:
    """One self-contained file: no network, no library."""
    places = _places(drawn.candles)
    prices = drawn.candles[["open", "high", "low", "close"]].round(places)
    volume = drawn.candles["volume"]
    data = {
        "title": drawn.title,
        "interval": drawn.interval,
        "bars": drawn.bars,
        "places": places,
        "step": drawn.step_ms,
        "t": [int(t) for t in drawn.candles.index],
        **{name: prices[name].tolist() for name in prices.columns},
        "volume": [float(f"{v:.6g}") for v in volume],
        "gaps": [
            [
                int(g.start.timestamp() * 1000),
                int(g.end.timestamp() * 1000),
                g.verdict,
                g.evidence,
                g.verdict in EXPLAINED,
            ]
            for g in drawn.gaps
        ],
        "colours": {"up": UP, "down": DOWN, "gap": GAP, "quiet": QUIET},
    }
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    page = TEMPLATE.read_text(encoding="utf-8").replace("{{title}}", html.escape(drawn.title))
    path.write_text(page.replace("{{data}}", text), encoding="utf-8")


def write_png(drawn: Chart, path: Path) -> None:
    """2400 × 1350 pixels. Raises BadInput if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BadInput(
            "a PNG needs matplotlib: `pip install 'alphaforge-assets[plot]'`, or plot to a file ending in .html"
        ) from error
    figure = Figure(figsize=(16, 9), dpi=150, facecolor="white")
    prices, volumes = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1], "hspace": 0.04})
    _draw(drawn, prices, volumes)
    figure.text(0.055, 0.952, drawn.title, fontsize=20, fontweight="bold", color="#1b2330")
    dates = f"{drawn.start:%Y-%m-%d %H:%M} to {drawn.end:%Y-%m-%d %H:%M} UTC"
    figure.text(0.055, 0.922, f"{dates}  ·  {drawn.caption}{_legend(drawn.gaps)}", fontsize=11, color="#5b6575")
    figure.subplots_adjust(left=0.02, right=0.935, top=0.9, bottom=0.06)
    for text in figure.texts:
        text.set_x(0.02)
    figure.savefig(path, format="png")


def _draw(drawn: Chart, prices: Any, volumes: Any) -> None:
    """Both panels of the PNG, all candles of a colour in one collection."""
    from matplotlib import dates, ticker

    candles = drawn.candles
    x = candles.index.to_numpy() / 86_400_000 + drawn.step_ms / 2 / 86_400_000
    width = drawn.step_ms / 86_400_000
    rises = (candles["close"] >= candles["open"]).to_numpy()
    for chosen, colour in ((rises, UP), (~rises, DOWN)):
        part = candles[chosen]
        prices.vlines(x[chosen], part["low"], part["high"], color=colour, linewidth=1.0)
        low, high = part[["open", "close"]].min(axis=1), part[["open", "close"]].max(axis=1)
        thin = (candles["high"].max() - candles["low"].min()) / 1500  # a body of one price is a line still
        prices.bar(x[chosen], np.maximum(high - low, thin), width * 0.72, bottom=low, color=colour, linewidth=0)
        volumes.bar(x[chosen], part["volume"], width * 0.72, color=colour, alpha=0.55, linewidth=0)
    for gap in drawn.gaps:
        sides = [moment.timestamp() / 86_400 for moment in (gap.start, gap.end)]
        colour = QUIET if gap.verdict in EXPLAINED else GAP
        for panel in (prices, volumes):
            panel.axvspan(*sides, color=colour, alpha=0.18, linewidth=0)
        wide = sides[1] - sides[0] > 0.05 * (x[-1] - x[0])
        if wide:
            prices.text(
                sum(sides) / 2, 0.97, gap.verdict or "no bars", transform=prices.get_xaxis_transform(), ha="center",
                va="top", fontsize=10, color=colour,
            )  # fmt: skip
    for panel in (prices, volumes):
        panel.yaxis.tick_right()
        panel.grid(axis="both", color="#e8ebf0", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.tick_params(length=0, labelsize=10, labelcolor="#5b6575")
        panel.spines[:].set_visible(False)
    prices.set_xlim(x[0] - width, x[-1] + width)
    volumes.set_ylim(bottom=0)
    places = max(0, _places(candles) - 2)
    prices.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.{places}f}"))
    volumes.yaxis.set_major_formatter(ticker.EngFormatter())
    volumes.yaxis.set_major_locator(ticker.MaxNLocator(3))
    locator = dates.AutoDateLocator(minticks=6, maxticks=14, tz=dt.UTC)
    volumes.xaxis.set_major_locator(locator)
    volumes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=dt.UTC, show_offset=False))


def _legend(gaps: Sequence[Gap]) -> str:
    verdicts = sorted({gap.verdict or "not judged" for gap in gaps})
    return f"  ·  {len(gaps)} gap{'s' * (len(gaps) > 1)}: {', '.join(verdicts)}" if gaps else ""


def span(step_ms: int) -> str:
    """60000 -> 1m, 14400000 -> 4h"""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000)):
        if step_ms % size == 0:
            return f"{step_ms // size}{unit}"
    return f"{step_ms // 60_000}m"


def _step(length_ms: int, interval_ms: int, candles_max: int) -> int:
    """The shortest step, a multiple of the interval, that leaves at most so many candles."""
    steps = [m * 60_000 for m in STEPS_MIN if m * 60_000 >= interval_ms and m * 60_000 % interval_ms == 0]
    fits = [step for step in steps if length_ms / step <= candles_max]
    return fits[0] if fits else steps[-1]


def _gaps(times: Any, interval_ms: int, known: Sequence[Mapping[str, Any]]) -> tuple[Gap, ...]:
    """Stretches between bars where the grid has slots and the frame has none, as the ledger judges them."""
    jumps = np.flatnonzero(np.diff(times) >= 2 * interval_ms)
    found = []
    for n in jumps:
        start = int(times[n]) // interval_ms * interval_ms + interval_ms
        end = int(times[n + 1])
        first, last = _utc(start), _utc(end)
        said = [row for row in known if row["gap_start"] < last and row["gap_end"] > first and row["is_open"]]
        verdicts = sorted({str(row["verdict"]) for row in said})
        found.append(Gap(first, last, ", ".join(verdicts), str(said[0]["evidence"]) if said else ""))
    return tuple(found)


def _places(candles: pd.DataFrame) -> int:
    """Decimals that tell a millionth of the price apart; labels of axes do with two less."""
    price = float(candles["close"].abs().median())
    return int(np.clip(6 - np.floor(np.log10(price)), 0, PLACES_MAX)) if price > 0 else 2


def _utc(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
