"""Which bars of a stream are over: laws that hold whatever comes in whatever order, and each kind of venue's words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from alphaforge_assets.stream.closing import LATE_AFTER_BREAK_S, LATE_S, MINUTE_MS, QUIET_CLOSE_S, Closing, Hole
from alphaforge_assets.venues.feed import Event

BEGIN = 1_735_812_000_000
NAMES = ("A", "B")
MINUTES = 8


def bar(name: str, minute: int, *, is_closed: bool | None = True, record: Any = None) -> Event:
    opens = BEGIN + minute * MINUTE_MS
    return Event("bars", name, opens, record or f"{name}{minute}", open_ms=opens, is_closed=is_closed)


@dataclass
class Heard:
    """What a closing said of what it was told; a second of the steady clock is what each step takes, if not said."""

    closing: Closing
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.bars: list[Event] = []
        self.holes: list[Hole] = []

    def tell(self, event: Event) -> None:
        self.bars += self.closing.told(event, self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        bars, holes = self.closing.due(self.now)
        self.bars += bars
        self.holes += holes

    def told(self, name: str) -> Counter[int]:
        return Counter((its.open_ms - BEGIN) // MINUTE_MS for its in self.bars if its.venue_symbol == name)

    def missed(self, name: str) -> Counter[int]:
        spans = [(h.start_ms, h.end_ms) for h in self.holes if h.venue_symbol == name]
        return Counter((ms - BEGIN) // MINUTE_MS for start, end in spans for ms in range(start, end, MINUTE_MS))


Step = tuple[str, Any]
Closes = Literal["flagged", "next"]


def run(closes: Closes, steps: Sequence[Step], resume: dict[str, int]) -> Heard:
    heard = Heard(Closing(NAMES, closes, resume))
    for what, value in steps:
        match what:
            case "told":
                heard.tell(value)
            case "break":
                heard.closing.broke(value)
            case _:
                heard.wait(value)
    # What comes long after all: every series has its say on what was before.
    for name in NAMES:
        heard.tell(bar(name, MINUTES, is_closed=False))
    heard.wait(LATE_S)
    heard.wait(LATE_S)
    return heard


@st.composite
def schedules(draw: st.DrawFn) -> list[Step]:
    """Closes and open words of eight minutes, repeated, swapped or left out, with breaks and waits between them."""
    events: list[Step] = []
    for minute in range(MINUTES):
        for name in NAMES:
            events += [("told", bar(name, minute, is_closed=False))] * draw(st.integers(0, 2))
            events += [("told", bar(name, minute))] * draw(st.sampled_from((0, 1, 1, 1, 2)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(0, len(events) - 1)))
        match draw(st.sampled_from(("swap", "break", "wait", "gap"))):
            case "swap":
                events[at : at + 2] = events[at : at + 2][::-1]
            case "break":
                events.insert(at, ("break", "cut"))
            case "wait":
                events.insert(at, ("wait", draw(st.floats(0.1, 2 * LATE_S))))
            case _:
                del events[at : at + draw(st.integers(1, 8))]
    return events


@settings(max_examples=200)
@given(schedules(), st.booleans())
def test_each_minute_is_told_as_closed_or_is_in_exactly_one_hole(steps: list[Step], resumes: bool) -> None:
    heard = run("flagged", steps, dict.fromkeys(NAMES, BEGIN) if resumes else {})
    spoken = [value for what, value in steps if what == "told"]
    begin = spoken[0].open_ms if spoken else BEGIN + MINUTES * MINUTE_MS
    first = 0 if resumes else (begin - BEGIN) // MINUTE_MS
    closed = {name: {e.open_ms for e in spoken if e.venue_symbol == name and e.is_closed} for name in NAMES}
    for name in NAMES:
        told, missed = heard.told(name), heard.missed(name)
        assert set(told.values()) <= {1}  # no correction was told, so none twice
        assert {BEGIN + m * MINUTE_MS for m in told} == closed[name]  # every close is passed on, and nothing else
        assert set(missed.values()) <= {1}
        assert set(range(first, MINUTES)) <= set(told) | set(missed)
        assert all(m >= first for m in missed)
        assert all(m < MINUTES for m in missed)  # a minute that is not over is no hole
        assert {m for m in missed if m in told} <= came_late(steps, name)


def came_late(steps: Sequence[Step], name: str) -> set[int]:
    """Minutes whose close came after a wait or a break: they may have been given up by then."""
    late: set[int] = set()
    has_waited = False
    for what, value in steps:
        has_waited |= what != "told"
        if has_waited and what == "told" and value.venue_symbol == name and value.is_closed:
            late.add((value.open_ms - BEGIN) // MINUTE_MS)
    return late


@settings(max_examples=200)
@given(schedules(), st.booleans())
def test_where_no_word_is_flagged_only_a_break_makes_holes_and_nothing_is_made_up(
    steps: list[Step], resumes: bool
) -> None:
    words = [(what, bar(v.venue_symbol, (v.open_ms - BEGIN) // MINUTE_MS, is_closed=None) if what == "told" else v)
             for what, v in steps]  # fmt: skip
    heard = run("next", words, dict.fromkeys(NAMES, BEGIN) if resumes else {})
    spoken = {(v.venue_symbol, (v.open_ms - BEGIN) // MINUTE_MS) for what, v in words if what == "told"}
    for name in NAMES:
        told, missed = heard.told(name), heard.missed(name)
        assert set(told.values()) <= {1}
        assert {(name, m) for m in told} <= spoken
        assert set(missed.values()) <= {1}
        assert all(m < MINUTES for m in missed)
        heard_of = {m for its, m in spoken if its == name}
        assert heard_of <= set(told) | set(missed)


@given(st.sampled_from(("flagged", "next")), st.lists(st.integers(0, MINUTES * MINUTE_MS), max_size=20))
def test_the_time_alone_never_makes_a_bar(closes: Closes, times: list[int]) -> None:
    heard = Heard(Closing(NAMES, closes, {}))
    for ms in times:
        heard.closing.passed(BEGIN + ms, heard.now)
        heard.wait(LATE_S)
    assert heard.bars == []
    assert heard.closing.frontier == max((BEGIN + ms - ms % MINUTE_MS for ms in times), default=0)


def test_a_close_is_waited_for_and_after_a_break_no_longer_than_what_is_on_its_way() -> None:
    heard = Heard(Closing(("A",), "flagged", {}))
    heard.tell(bar("A", 0))
    heard.wait(LATE_S)
    heard.tell(bar("A", 2, is_closed=False))
    heard.wait(LATE_S - 0.1)
    assert heard.holes == []
    heard.wait(0.1)
    assert heard.holes == [Hole("A", BEGIN + MINUTE_MS, BEGIN + 2 * MINUTE_MS, "no close came")]
    heard.closing.broke("cut")
    heard.tell(bar("A", 5, is_closed=False))
    heard.wait(LATE_AFTER_BREAK_S)
    assert heard.holes[1:] == [Hole("A", BEGIN + 2 * MINUTE_MS, BEGIN + 5 * MINUTE_MS, "cut")]
    heard.tell(bar("A", 1))  # 24 s late: it is told all the same, and ranks below REST's
    assert heard.told("A") == {0: 1, 1: 1}


def test_a_correction_is_told_and_a_repetition_is_not() -> None:
    heard = Heard(Closing(("A",), "flagged", {}))
    for record in ("a", "a", "b", "b", "a"):
        heard.tell(bar("A", 0, record=record))
    assert [its.record for its in heard.bars] == ["a", "b", "a"]


def test_an_open_bar_is_closed_by_the_next_one_or_by_quiet_but_not_after_a_break() -> None:
    heard = Heard(Closing(("A", "B"), "next", {}))
    heard.tell(bar("A", 0, is_closed=None, record="early"))
    heard.tell(bar("A", 0, is_closed=None, record="last"))
    heard.tell(bar("A", 1, is_closed=None))
    assert [its.record for its in heard.bars] == ["last"]
    heard.tell(bar("B", 2, is_closed=None))  # the venue's time went on
    heard.wait(QUIET_CLOSE_S)
    assert heard.told("A") == {0: 1, 1: 1}
    heard.closing.broke("cut")  # in the minute of B's open bar
    heard.tell(bar("B", 4, is_closed=None))
    heard.wait(LATE_S)
    assert heard.told("B") == {}
    assert 2 in heard.missed("B")
