"""What the mappings in `Event.record` hold: quotes, liquidations and changes of books, the same names for every venue.

Prices and quantities stay the decimal texts that the venue wrote: checksums of books are computed from those, and a
column of texts becomes floats at once where it is loaded. Of a venue that writes numbers they are those numbers' texts.
Prices are in quote units, quantities in base units, but in contracts where the name says so, and those of quotes and
books where the venue counts its trades in contracts (`TradeLayout.is_in_contracts`).
"""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

Level = Sequence[str]  # price and quantity; in a change of a book, quantity 0 takes the price away


class Quote(TypedDict):
    """The best bid and the best offer; "" where there is none."""

    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str


class Book(TypedDict):
    """A whole book, best prices first, or what changed in it, as `Event.is_snapshot` says."""

    bids: Sequence[Level]
    asks: Sequence[Level]
    checksum: NotRequired[int]  # of the book after this change, as the venue computes it


class Liquidation(TypedDict):
    """A position that the venue closed; the names are those of LIQUIDATION_SCHEMA (liquidations_file.py)."""

    timestamp_ms: int
    liquidation_id: int  # `id_of` what was said: venues do not count them
    price_kind: str  # what `price` is: order, the limit of the venue's order, or bankruptcy
    order_side: str  # buy, sell, or "" where the venue says neither
    position_side: str  # long, short, or ""
    price: str
    average_price: NotRequired[str]  # at which the order was filled
    quantity: NotRequired[str]
    contract_quantity: NotRequired[str]  # in contracts, where the venue counts in those
    filled_quantity: NotRequired[str]
    is_sampled: bool  # whether the venue tells a part only
    metadata: str  # '' or JSON of what is not as usual
