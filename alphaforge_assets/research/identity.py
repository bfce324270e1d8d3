"""Where a name stops standing for one thing: told in the receipt, warned of, and adjusted for on request only.

What the universe says of a name (`universe.Identity`) becomes the edges of a range, which a receipt holds whole: a
frame that was adjusted is proved by its own factors, whatever the universe says later.
"""

import datetime as dt
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from alphaforge_assets.universe import Instrument

REDENOMINATIONS = "redenominations"
NO_OTHER = "; coins have neither splits nor dividends"
SHOWN_MAX = 3

_PRICES = ("open", "high", "low", "close", "vwap")
_AMOUNTS = ("volume", "taker_buy_base_volume")  # in base; those in quote and in contracts stay as they are


class IdentityWarning(UserWarning):
    """A range has bars of two coins under one name, or of one coin in two units. The message says from when on."""


@dataclass(frozen=True)
class Edge:
    """A moment at which a name stops standing for what it stood for, ISO 8601 in UTC, as the universe says.

    `what` is `redenominated_at` (prices before it times `factor` are in the unit after it), `relisted_at` (another coin
    from then on) or `renamed_to` (the coin goes on as `symbol`).
    """

    instrument: str
    what: str
    at: str
    factor: float | None = None
    symbol: str | None = None

    @property
    def moment(self) -> dt.datetime:
        return dt.datetime.fromisoformat(self.at)

    def plain(self) -> dict[str, Any]:
        """The same, of JSON's types only."""
        return asdict(self)


def edges_of(
    instruments: Iterable[Instrument], start: dt.datetime, end: dt.datetime, adjust: str | None
) -> tuple[Edge, ...]:
    """Those strictly within [start, end), by instrument and time; to adjust, also the later ones of unit and coin."""
    found = []
    for one in instruments:
        its = one.identity
        own = [
            Edge(one.key, "redenominated_at", _iso(moment), factor=factor) for moment, factor in its.redenominated_at
        ]
        own += [Edge(one.key, "relisted_at", _iso(moment)) for moment in its.relisted_at]
        if its.renamed_to and its.delisted_at and its.delisted_at < end:
            own.append(Edge(one.key, "renamed_to", _iso(its.delisted_at), symbol=its.renamed_to))
        found += [e for e in sorted(own, key=lambda e: e.moment) if start < e.moment and (adjust or e.moment < end)]
    return tuple(found)


def adjusted(part: pa.Table, key: str, edges: Sequence[Edge]) -> pa.Table:
    """The rows of `key` in the newest unit of the coin that each is of: never across a `relisted_at`."""
    times = part.column("timestamp").cast(pa.int64()).to_numpy()
    factors = np.ones(len(times))
    coin_since = np.iinfo(np.int64).min
    for edge in (e for e in edges if e.instrument == key):
        at = int(edge.moment.timestamp() * 1000)
        if edge.what == "relisted_at":
            coin_since = at
        elif edge.factor is not None:
            factors[(times >= coin_since) & (times < at)] *= edge.factor
    if (factors == 1).all():
        return part
    for name in part.column_names:
        if name in _PRICES or name in _AMOUNTS:
            column = part.column(name)
            by = factors if name in _PRICES else 1 / factors
            values = pa.array(column.to_numpy() * by, mask=np.asarray(column.is_null()))
            part = part.set_column(part.column_names.index(name), name, values)
    return part


def say(
    what: str, own: Sequence[Edge], start: dt.datetime, end: dt.datetime, adjust: str | None, stacklevel: int
) -> None:
    """Warn once of the edges of a range that no adjustment took away."""
    within = [e for e in own if start < e.moment < end and not (adjust and e.factor is not None)]
    if within:
        shown = "; ".join(map(_sentence, within[:SHOWN_MAX]))
        more = f"; and {len(within) - SHOWN_MAX} more, see the receipt" if len(within) > SHOWN_MAX else ""
        warnings.warn(f"{what}: {shown}{more}", IdentityWarning, stacklevel=stacklevel)


def _sentence(edge: Edge) -> str:
    on = f"{edge.instrument} from {edge.moment:%Y-%m-%d %H:%M} on"
    if edge.what == "relisted_at":
        return f"{on} is another coin of the same name: read the two apart"
    if edge.what == "renamed_to":
        return f"{on} is {edge.symbol}"
    return f"{on} has another unit: adjust={REDENOMINATIONS!r} multiplies what is before by {edge.factor:g}"


def _iso(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
