"""What an export is made of: one instrument's bars on one interval, and the files a layout makes of them."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from alphaforge_assets.universe import Instrument
from alphaforge_assets.venues.directory import VENUES


@dataclass(frozen=True)
class Series:
    """Bars of one instrument as `Research.bars` gives them, and what is known beside them.

    `funding` is a frame as of `Research.funding_rates`, None where there is none. `listing` is the instrument's row of
    `Research.instruments`.
    """

    instrument: Instrument
    interval: str
    bars: pd.DataFrame
    funding: pd.DataFrame | None
    listing: Mapping[str, Any]

    @property
    def exchange(self) -> str:
        """ccxt's name of the exchange: binance, okx, bybit."""
        return VENUES[self.instrument.venue].exchange

    @property
    def known_as(self) -> str:
        """What tools without ccxt call it."""
        return VENUES[self.instrument.venue].known_as or self.exchange


@dataclass(frozen=True)
class File:
    """A file of a layout: where below the export's folder, and how it is written, whole, to a path.

    `is_alone`: the tool takes every file of that folder for one series, so no other may be there.
    """

    path: PurePosixPath
    rows: int
    write: Callable[[Path], None]
    is_alone: bool = False


@dataclass(frozen=True)
class Layout:
    """How a tool wants its files. `intervals`: those it has; `note`: what its user must know, one sentence."""

    name: str
    files: Callable[[Series], list[File]]
    note: str
    intervals: tuple[str, ...] | None = None


def milliseconds(frame: pd.DataFrame) -> Any:
    """Open times of a frame as int64, milliseconds since 1970."""
    return frame.index.as_unit("ms").astype("int64").to_numpy()  # type: ignore[attr-defined]


def utc(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
