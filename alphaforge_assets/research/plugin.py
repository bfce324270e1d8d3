"""The plugin of AlphaForge: bars by configuration, for a strategy orchestrator that finds it by its entry point.

Group `alphaforge.plugins`, name `warehouse_clickhouse`. The configuration is a model that can be written down whole, so
a strategy's data are a matter of record: with a snapshot in it, the frame is the same on every machine.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pydantic

from alphaforge_assets.errors import BadInput
from alphaforge_assets.intervals import Interval
from alphaforge_assets.research import connect
from alphaforge_assets.universe import SYMBOL, SYMBOL_SAYS, VenueName

KEYS = ("venue", "symbol", "timestamp")


class WarehouseClickhouse(pydantic.BaseModel):
    """What to read: bars of venues × symbols on one interval with open times of [start, end).

    `start`, `end` and `as_of` are aware datetimes, or texts as 2025-05-01 or 2025-05-01T12:00Z; without a zone they are
    UTC. `columns` are those of `Research.bars`. `url` is the warehouse, by default CLICKHOUSE_URL, else the embedded
    one of ALPHAFORGE_HOME. `require_complete` refuses data with gaps.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    venues: list[VenueName] = pydantic.Field(min_length=1)
    symbols: list[str] = pydantic.Field(min_length=1)
    interval: Interval
    start: dt.datetime
    end: dt.datetime
    columns: list[str] = pydantic.Field(default=["open", "high", "low", "close", "volume"], min_length=1)
    snapshot: str | None = None
    as_of: dt.datetime | None = None
    require_complete: bool = False
    url: str | None = None

    @pydantic.field_validator("start", "end", "as_of", mode="before")
    @classmethod
    def _moment(cls, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, (str, dt.date)):
            raise ValueError("write a time as 2025-05-01 or 2025-05-01T12:00Z")
        try:
            stamp = pd.Timestamp(value)
        except ValueError as error:
            raise ValueError("write a time as 2025-05-01 or 2025-05-01T12:00Z") from error
        return (stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")).to_pydatetime()

    @pydantic.field_validator("symbols")
    @classmethod
    def _unified(cls, symbols: list[str]) -> list[str]:
        for symbol in symbols:
            if not SYMBOL.fullmatch(symbol):
                raise ValueError(f"{symbol!r}: {SYMBOL_SAYS}")
        return symbols

    @pydantic.field_validator("venues", "symbols", "columns")
    @classmethod
    def _once(cls, names: list[str]) -> list[str]:
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} is named twice; name each once")
        return names

    @pydantic.model_validator(mode="after")
    def _makes_sense(self) -> "WarehouseClickhouse":
        if self.end <= self.start:
            raise ValueError(f"end {self.end} is not after start {self.start}: the range is [start, end)")
        if self.snapshot is not None and self.as_of is not None:
            raise ValueError("snapshot and as_of both say which versions to read: give one of them")
        return self


def warehouse_clickhouse(config: WarehouseClickhouse | Mapping[str, Any]) -> pd.DataFrame:
    """Bars as one long frame: columns venue, symbol, timestamp (open time, UTC), then those of the configuration.

    Ordered by venue and symbol as configured, then time, with a plain index. Bars that the venues never had are absent;
    nothing is filled. `attrs["receipts"]` has the receipt of each instrument by its key. Raises BadInput with every
    fault of the configuration on a line of its own, CoverageError if `require_complete` finds gaps, WarehouseDown.
    """
    asked = config if isinstance(config, WarehouseClickhouse) else _checked(config)
    research = connect(asked.url)
    options: dict[str, Any] = {
        name: value
        for name, value in (
            ("snapshot", asked.snapshot),
            ("as_of", asked.as_of),
            ("require_complete", asked.require_complete),
        )
        if value
    }
    parts, receipts = [], {}
    for venue in asked.venues:
        for symbol in asked.symbols:
            key = f"{venue}.{symbol.replace('/', '-')}"
            bars = research.bars(key, asked.interval, asked.start, asked.end, columns=asked.columns, **options)
            receipts[key] = bars.attrs.get("receipt")
            parts.append(bars.reset_index().assign(venue=venue, symbol=symbol))
    whole: pd.DataFrame = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    whole = whole[[*KEYS, *asked.columns]]
    whole.attrs["receipts"] = receipts
    return whole


def _checked(config: Mapping[str, Any]) -> WarehouseClickhouse:
    try:
        return WarehouseClickhouse.model_validate(dict(config))
    except pydantic.ValidationError as error:
        raise BadInput("\n".join(_fault(fault) for fault in error.errors())) from error
    except (TypeError, ValueError) as error:
        raise BadInput(f"config {config!r}: give a mapping of the fields of WarehouseClickhouse") from error


def _fault(fault: Any) -> str:
    field = ".".join(str(part) for part in fault["loc"])
    match fault["type"]:
        case "extra_forbidden":
            problem = f"unknown field; there is {', '.join(WarehouseClickhouse.model_fields)}"
        case "missing":
            problem = "is missing; add it"
        case "literal_error":
            problem = f"{fault['input']!r} is not known; use {fault['ctx']['expected']}"
        case "value_error":
            problem = str(fault["ctx"]["error"])
        case _:
            problem = f"{fault['input']!r}: {fault['msg'].lower()}"
    return f"config: {field + ': ' if field else ''}{problem}"
