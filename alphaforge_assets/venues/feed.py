"""What a venue's stream is: where it listens, how it is subscribed, and what its messages mean.

One `Feed` a stream, in the venue's own file. Pure records and functions: nothing here connects, and a message is read
without knowing what came before it. Rows are told in the form that the same venue's REST layout reads (venue.py,
trade_rows.py), so that a bar of the stream and one of REST become columns by the same code.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.trade_rows import TradeLayout

Kind = Literal["bars", "trades", "liquidations", "quotes", "books"]


@dataclass(frozen=True, slots=True)
class Channel:
    """What is subscribed: one kind of one instrument, by the name that the stream has for it. Bars are of 1m.

    That is the venue's own name as REST has it, or what `Feed.named` makes of it. No name means all that are there.
    """

    kind: Kind
    venue_symbol: str


@dataclass(frozen=True, slots=True)
class Event:
    """One bar, trade, liquidation, quote or change of a book.

    `at_ms` is the venue's own time of saying it, 0 where it says none. `record` of bars is a row of the venue's
    `BarFeed.layout`, of trades one of `Feed.trades`; of the others a mapping of the names in `feed_records.py`.
    """

    kind: Kind
    venue_symbol: str
    at_ms: int
    record: Any
    open_ms: int = 0  # bars: when it opens; trades that bars are made of: when the minute opens that it is in
    is_closed: bool | None = None  # bars: None where the venue does not say which is the last word
    ids: tuple[int, int] | None = None  # first and last id, of the trades in a bar, a trade, or the changes of a book
    before: int | None = None  # the last id of the event that must have come before this one, where the venue says it
    is_snapshot: bool = False  # told on subscribing, of what was before; or a book that starts over


@dataclass(frozen=True, slots=True)
class Notice:
    """What is no data: an acknowledgement, a refusal (of `channels`, all if it does not say), a sign of life, the end.

    A refusal that answers request `asked` and names no channel is of all that this request asked for: ask for each
    alone, to find which it meant. `unknown` is what nobody here understands: it is in the journal, and counted.
    """

    what: Literal["acknowledged", "refused", "alive", "ending", "unknown"]
    reason: str = ""
    channels: tuple[Channel, ...] = ()
    number: int | None = None  # of a sequence over the whole connection, where the venue counts its messages
    asked: int | None = None  # the number of our request that it answers, where the venue repeats it


@dataclass(frozen=True)
class Feed:
    """One stream of one venue: an endpoint, and those kinds of data that are told there."""

    venue: str
    url: str  # the real one
    path: str  # where a sandbox has it, below its base URL
    kinds: tuple[Kind, ...]
    subscribe: Callable[[Sequence[Channel], int], list[str]]  # the messages that ask for channels, numbered from here
    parse: Callable[[bytes], Sequence[Event | Notice]]  # never raises: what it cannot read is a Notice "unknown"
    connects: Budget  # of connections, per address
    channels_max: int  # on one connection
    asks_per_s: float  # messages that we may send
    ping: str = ""  # the text that keeps it alive, where the protocol's own pings do not
    ping_s: float = 0.0
    silence_s: float = 10.0  # without any message: it is dead whatever its socket says
    life_s: float = 24 * 3600.0  # the venue ends it then
    # Which word about a bar is the last: one that says so, the one before the next bar's first, or what trades make.
    closes: Literal["flagged", "next", "trades"] = "flagged"
    trades: TradeLayout | None = None
    counts_connection: bool = False  # each message has a Notice whose `number` counts it, its events after it
    # The stream's name of an instrument, of REST's name and the venue's own row of it (`Listing.info`); None: the same.
    named: Callable[[str, Mapping[str, Any]], str] | None = None
    book_levels: int = 0  # a side of a book has so many, and one that falls out is not told; 0: all are told
    # What `checksum` in the record of a book must be: of its bids and its asks after it (price and quantity as texts,
    # the best first) and the venue's own row of the instrument; None: its books have none, or one that means nothing.
    checksum: Callable[[Sequence[Sequence[str]], Sequence[Sequence[str]], Mapping[str, Any]], int] | None = None
