"""What a mapping is: a YAML file that says what stands where in a user's own files, and in which unit.

Strict: a field that is not known, a unit that is not said, a side of nobody knows whom is a fault with its line.
Nothing here opens a data file.
"""

import re
from collections.abc import Mapping as Words
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from alphaforge_assets import documents
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.errors import BadInput
from alphaforge_assets.intervals import INTERVAL_MS, Interval
from alphaforge_assets.universe import SYMBOL, SYMBOL_SAYS
from alphaforge_assets.venues.directory import VENUES

Unit = Literal["s", "ms", "us", "ns", "iso"]
Form = Literal["csv", "jsonl", "parquet"]
PATTERN_CHARS_MAX = 200
ADVICE = "--mapping must name a readable YAML file; docs/mappings has examples"


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


def _plain(entry: Any) -> Any:
    return {"field": entry} if isinstance(entry, str) else entry


def _constant(entry: Any) -> Any:
    return {"constant": entry} if isinstance(entry, str) else entry


def _texts(entry: Any) -> Any:
    """YAML reads true, 1 and 2024-01-01 as no text, and in a file they are one."""
    if not isinstance(entry, dict):
        return entry
    return {(str(key).lower() if isinstance(key, bool) else str(key)): value for key, value in entry.items()}


FieldName = Annotated[str, pydantic.Field(min_length=1, max_length=200)]


class Number(_Strict):
    """Where a number stands: a field of the file, with dots into records of JSON."""

    field: FieldName


class Amount(Number):
    """A number of base units, or of contracts of so many base units each."""

    contract_size: Annotated[Decimal, pydantic.Field(gt=0, strict=False)] | None = None

    @property
    def ratio(self) -> tuple[int, int]:
        """Base units of a contract as two whole numbers, which divide to the nearest float."""
        size = Fraction(self.contract_size or 1)
        return size.numerator, size.denominator


class Time(_Strict):
    """Where a time stands. `iso`: a text with or without a zone (then UTC), or a timestamp of Parquet."""

    field: FieldName
    unit: Unit


class Side(_Strict):
    """Where the side of a trade stands, whose it is, and which words the file has for it."""

    field: FieldName
    means: Literal["taker", "maker"]
    values: Annotated[dict[str, Literal["buy", "sell"]], pydantic.BeforeValidator(_texts)] = {
        "buy": "buy",
        "sell": "sell",
    }

    @property
    def takers(self) -> Words[str, str]:
        """The file's words -> what the taker did."""
        other = {"buy": "sell", "sell": "buy"}
        return {word: side if self.means == "taker" else other[side] for word, side in self.values.items()}


class Name(_Strict):
    """One name for the whole file, or a field whose words `values` or `pattern` turns into names.

    A pattern fits the whole word and has groups `base` and `quote`, of which a symbol is made.
    """

    constant: str | None = None
    field: FieldName | None = None
    values: Annotated[dict[str, str], pydantic.BeforeValidator(_texts)] | None = None
    pattern: Annotated[str, pydantic.Field(max_length=PATTERN_CHARS_MAX)] | None = None

    @pydantic.model_validator(mode="after")
    def _one_of_both(self) -> "Name":
        if (self.constant is None) == (self.field is None):
            raise ValueError("write one name for the whole file, or a field that has it")
        if self.constant is not None and (self.values or self.pattern):
            raise ValueError("values and pattern are for a field; there is none")
        if self.values is not None and self.pattern is not None:
            raise ValueError("values and pattern both say what a word means; keep one")
        return self


class Csv(_Strict):
    """How a CSV file is written. Without a header `columns` names its columns in order."""

    delimiter: Annotated[str, pydantic.Field(min_length=1, max_length=1)] = ","
    header: bool = True
    columns: list[FieldName] | None = None

    @pydantic.model_validator(mode="after")
    def _named_once(self) -> "Csv":
        if self.header == (self.columns is not None):
            raise ValueError("columns names the columns of a file without a header: with header: false, and only then")
        if self.columns and len(set(self.columns)) < len(self.columns):
            raise ValueError("columns names one twice; each column has a name of its own")
        return self


APlainNumber = Annotated[Number, pydantic.BeforeValidator(_plain)]
APlainAmount = Annotated[Amount, pydantic.BeforeValidator(_plain)]


class BarColumns(_Strict):
    """Columns of bars, as in landing_bars."""

    timestamp: Time
    close_time: Time | None = None
    open: APlainNumber
    high: APlainNumber
    low: APlainNumber
    close: APlainNumber
    volume: APlainAmount
    quote_volume: APlainNumber | None = None
    contract_volume: APlainNumber | None = None
    trade_count: APlainNumber | None = None
    taker_buy_base_volume: APlainAmount | None = None
    taker_buy_quote_volume: APlainNumber | None = None

    @pydantic.model_validator(mode="after")
    def _contracts_once(self) -> "BarColumns":
        if self.contract_volume and self.volume.contract_size:
            raise ValueError("contract_volume and the contract_size of volume say the same; keep one")
        return self


class TradeColumns(_Strict):
    """Columns of trades, as in landing_trades. Without `trade_id` a trade is named by its values."""

    timestamp: Time
    trade_id: APlainNumber | None = None
    first_id: APlainNumber | None = None
    last_id: APlainNumber | None = None
    side: Side
    price: APlainNumber
    quantity: APlainAmount
    quote_quantity: APlainNumber | None = None


AName = Annotated[Name, pydantic.BeforeValidator(_constant)]


class _Mapping(_Strict):
    venue: AName
    symbol: AName
    format: Form | None = None  # None: by the ending of the file
    csv: Csv = Csv()

    @pydantic.field_validator("venue")
    @classmethod
    def _known_venues(cls, venue: Name) -> Name:
        for name in _names(venue):
            check_venue(name)
        if venue.pattern is not None:
            raise ValueError("a pattern is for symbols; list venues in values")
        return venue

    @pydantic.field_validator("symbol")
    @classmethod
    def _sound_symbols(cls, symbol: Name) -> Name:
        for name in _names(symbol):
            check_symbol(name)
        if symbol.pattern is not None:
            try:
                groups = re.compile(symbol.pattern).groupindex
            except re.error as error:
                raise ValueError(f"pattern: no regular expression: {error}") from error
            if not {"base", "quote"} <= set(groups):
                raise ValueError("pattern: has no groups base and quote, as (?P<base>[A-Z0-9]+)-(?P<quote>[A-Z]+)")
        return symbol


class BarMapping(_Mapping):
    """A mapping of bars. A bar that has no time of its close ends one interval after its open."""

    dataset: Literal["bars"]
    interval: AName
    columns: BarColumns

    @pydantic.field_validator("interval")
    @classmethod
    def _known_intervals(cls, interval: Name) -> Name:
        for name in _names(interval):
            check_interval(name)
        if interval.pattern is not None:
            raise ValueError("a pattern is for symbols; list intervals in values")
        return interval


class TradeMapping(_Mapping):
    """A mapping of trades: single ones, or aggregates of what one order took at one price."""

    dataset: Literal["trades"]
    kind: Literal["single", "aggregate"] = "single"
    columns: TradeColumns

    @pydantic.model_validator(mode="after")
    def _aggregates_count(self) -> "TradeMapping":
        its = self.columns
        if self.kind == "aggregate" and not (its.trade_id and its.first_id and its.last_id):
            raise ValueError("aggregates are known by their ids: columns has trade_id, first_id and last_id")
        if self.kind == "single" and (its.first_id or its.last_id):
            raise ValueError("first_id and last_id are those of aggregates; remove them, or write kind: aggregate")
        return self


Mapping = BarMapping | TradeMapping
_KINDS: dict[str, type[BarMapping] | type[TradeMapping]] = {"bars": BarMapping, "trades": TradeMapping}
_DATASETS: dict[str, Dataset] = {"bars": BARS, "trades": TRADES}


def load_mapping(path: Path) -> Mapping:
    """Read and check a mapping. Raises BadInput with every fault on a line of its own, with file, line and field."""
    root, document = documents.read(path, "mapping", ADVICE)
    if not isinstance(document, dict):
        raise BadInput(f"{path}:1: not a mapping: write dataset, venue, symbol and columns")
    if document.get("dataset") not in _KINDS:
        said = f"is {document['dataset']!r}" if "dataset" in document else "is missing"
        raise BadInput(f"{documents.where(path, root, ('dataset',))}: {said}; write bars or trades")
    kind = _KINDS[document["dataset"]]
    try:
        return kind.model_validate(document)
    except pydantic.ValidationError as error:
        known = [name for model in _models(kind) for name in model.model_fields]
        raise BadInput("\n".join(documents.faults(path, root, error, known))) from error


def dataset_of(mapping: Mapping) -> Dataset:
    """The dataset that a mapping brings."""
    return _DATASETS[mapping.dataset]


def check_venue(name: str) -> str:
    """`name`, if it is a venue of ours. Raises ValueError."""
    if name not in VENUES:
        raise ValueError(f"venue {name!r} is not known; use {', '.join(VENUES)}")
    return name


def check_symbol(name: str) -> str:
    """`name`, if it can be a symbol. Raises ValueError."""
    if not SYMBOL.fullmatch(name):
        raise ValueError(f"symbol {name!r}: {SYMBOL_SAYS}")
    return name


def check_interval(name: str) -> Interval:
    """`name`, if it is a bar length of ours. Raises ValueError."""
    if name not in INTERVAL_MS:
        raise ValueError(f"interval {name!r}: use {', '.join(INTERVAL_MS)}")
    return name  # type: ignore[return-value]


def _names(name: Name) -> list[str]:
    return [name.constant] if name.constant is not None else [*(name.values or {}).values()]


def _models(kind: type[_Mapping]) -> list[type[pydantic.BaseModel]]:
    columns = BarColumns if kind is BarMapping else TradeColumns
    return [kind, columns, Time, Amount, Side, Name, Csv]
