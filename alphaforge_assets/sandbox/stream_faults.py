"""Faults of streams on order: POST /_faults with `"scope": "stream"`, a `kind`, and

    venue    only its connections ("" is every one); OKX is `okx`, Bybit `bybit_spot` or `bybit_perp`
    symbol, channel   only messages of that symbol in the venue's spelling, and of that channel
    times    how many connections or messages it strikes (default 1)    skip    how many messages pass first

Of connections, at once on those that are open (`refuse` and `deaf` on those to come):

    cut       the connection is reset           stall     nothing sent for `seconds` (default 3600), pings answered
    refuse    HTTP `status` at the handshake    deaf      accepted, then neither acknowledged nor told anything
    shutdown  the venue's notice, then after `seconds` (default 1) the end
    huge      a message of `bytes` (default 1 MB) between the others
    slow      `seconds` (default 1) of waiting before each look at what is due, for as long as it is on order

Of messages, each time on the next that match:

    gap       `rows` messages are left out      twice     a message comes twice     swap    two neighbours change places
    late      a closing bar comes `seconds` of venue time late (default 5)
    no_close  a closing bar does not come       wrong_close   it comes with other values
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:
    from alphaforge_assets.sandbox.streams import Event, Topic

HANDSHAKE = ("refuse", "deaf")
OF_CONNECTIONS = ("cut", "stall", "shutdown", "huge", "slow")
OF_CLOSES = ("late", "no_close", "wrong_close")
KINDS = (*HANDSHAKE, *OF_CONNECTIONS, "gap", "twice", "swap", *OF_CLOSES)
SECONDS = {"stall": 3600.0, "shutdown": 1.0, "slow": 1.0, "late": 5.0}


@dataclass
class StreamFault:
    """One fault on order; see the module's docstring."""

    kind: str
    scope: str = "stream"
    venue: str = ""
    symbol: str = ""
    channel: str = ""
    times: int = 1
    skip: int = 0
    rows: int = 1
    status: int = 503
    seconds: float | None = None
    bytes: int = 1_000_000

    @property
    def lasts_s(self) -> float:
        return SECONDS.get(self.kind, 0.0) if self.seconds is None else self.seconds


@dataclass
class Bent:
    """What faults have made of one connection."""

    is_cut: bool = False
    is_leaving: bool = False
    is_ending: bool = False
    grace_s: float = 0.0
    stalled_until: float = 0.0
    is_stalled: bool = False
    pause_s: float = 0.0
    huge_bytes: int = 0
    held: "list[tuple[int, Topic, Event]]" = field(default_factory=list)
    struck: "list[StreamFault]" = field(default_factory=list)


@dataclass
class StreamFaults:
    """The faults on order."""

    due: list[StreamFault] = field(default_factory=list)

    def add(self, order: dict[str, Any]) -> None:
        """Raises BadInput naming the field that is wrong."""
        known = StreamFault.__dataclass_fields__
        if order.get("kind") not in KINDS:
            raise BadInput(f"fault kind {order.get('kind')!r}: of streams use {', '.join(KINDS)}")
        for name, value in order.items():
            if name not in known:
                raise BadInput(f"fault field {name!r}: unknown; use {', '.join(known)}")
            kind = (int, float) if name == "seconds" else int if known[name].type in (int, "int") else str
            if not isinstance(value, kind):
                raise BadInput(f"fault field {name}: {value!r} is not of its kind; see the table of stream faults")
        self.due.append(StreamFault(**order))

    def listed(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self.due]

    def handshake(self, venue: str) -> StreamFault | None:
        """The fault that a new connection meets."""
        return next((fault for fault in self.due if self._takes(fault, HANDSHAKE, venue)), None)

    def strike(self, venue: str, bent: Bent, now_s: float) -> None:
        """Faults of connections, each once on each; `now_s` is of the event loop."""
        bent.pause_s = max((f.lasts_s for f in self.due if f.kind == "slow" and f.venue in ("", venue)), default=0.0)
        for fault in list(self.due):
            if (
                fault.kind == "slow"
                or any(it is fault for it in bent.struck)
                or not self._takes(fault, OF_CONNECTIONS, venue)
            ):
                continue
            bent.struck.append(fault)
            match fault.kind:
                case "cut":
                    bent.is_cut = True
                case "stall":
                    bent.stalled_until = now_s + fault.lasts_s
                case "shutdown":
                    bent.is_leaving, bent.grace_s = True, fault.lasts_s
                case "huge":
                    bent.huge_bytes = fault.bytes
        bent.is_stalled = now_s < bent.stalled_until

    def _takes(self, fault: StreamFault, kinds: tuple[str, ...], venue: str) -> bool:
        """Whether a fault is of these kinds and hits; counts it."""
        if fault.kind not in kinds or fault.venue not in ("", venue):
            return False
        return self._counts(fault)

    def _counts(self, fault: StreamFault) -> bool:
        if fault.skip > 0:
            fault.skip -= 1
            return False
        fault.times -= 1
        self.due = [other for other in self.due if other.times > 0]
        return True

    def bend(
        self,
        venue: str,
        bent: Bent,
        due: "list[tuple[Topic, Event]]",
        now_ms: int,
        spoiled: Callable[[bytes], bytes],
    ) -> "list[tuple[Topic, Event]]":
        """What goes out instead of what is due, and what was held back until now."""
        if not self.due and not bent.held:
            return due
        told: list[tuple[Topic, Event]] = []
        swapped: tuple[Topic, Event] | None = None
        for topic, event in due:
            fault = next((one for one in self.due if self._hits(one, venue, topic, event)), None)
            kind = "" if fault is None else fault.kind
            if fault is not None and kind == "gap":
                fault.rows -= 1
                if fault.rows > 0:
                    fault.times += 1
                    self.due = self.due if fault in self.due else [fault, *self.due]
            elif fault is not None and kind == "late":
                bent.held.append((event.time + int(fault.lasts_s * 1000), topic, event))
            elif kind == "swap":
                swapped = (topic, event)
                continue
            elif kind == "wrong_close":
                told.append((topic, type(event)(event.time, event.kind, spoiled(event.text))))
            elif kind != "no_close":
                told += [(topic, event)] * (2 if kind == "twice" else 1)
            if swapped:
                told, swapped = [*told, swapped], None
        if swapped:  # its neighbour comes with the next look
            bent.held.append((now_ms + 1, *swapped))
        ready = [its for its in bent.held if its[0] <= now_ms]
        bent.held = [its for its in bent.held if its[0] > now_ms]
        return told + [(topic, event) for _, topic, event in ready]

    def _hits(self, fault: StreamFault, venue: str, topic: "Topic", event: "Event") -> bool:
        if fault.kind in HANDSHAKE or fault.kind in OF_CONNECTIONS or fault.venue not in ("", venue):
            return False
        if fault.symbol not in ("", topic.listing.symbol) or fault.channel not in ("", topic.channel):
            return False
        if fault.kind in OF_CLOSES and event.kind != "close":
            return False
        return self._counts(fault)
