"""What the venues said: fetch what no complete batch answers, and append it to landing with its ledger rows.

Nothing is judged here. A venue that fails does not stop another, nor one instrument the next; what one source cannot
answer the next one of the venue is asked for.
"""

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.errors import AlphaForgeError, UnknownSymbol, VenueUnavailable
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import holes, trail
from alphaforge_assets.universe import Instrument
from alphaforge_assets.venues.directory import Exchanges, ranked
from alphaforge_assets.venues.source import Connection, Cost, Fetched, Source
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.batches import (
    Answer,
    Failure,
    Window,
    append,
    cut,
    following,
    record_failures,
    refuse_mixing,
    unanswered,
)
from alphaforge_assets.warehouse.listings import publish_listings, venue_symbols

# Windows in flight a venue: enough to keep its connections busy while rows are written, few enough to bound memory.
WINDOWS_IN_FLIGHT_MAX = 16
ROWS_PER_FLUSH = 250_000
NO_END = dt.datetime.max.replace(tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
EVER = dt.datetime.min.replace(tzinfo=dt.UTC)
Written = Callable[[Sequence[Window]], None]


@dataclass
class Landed:
    """What one call of `land` did."""

    rows: int = 0
    cost: Cost = field(default_factory=Cost)
    listings_changed: int | None = None  # None: no venue's listings were read
    failures: list[Failure] = field(default_factory=list)

    def __add__(self, other: "Landed") -> "Landed":
        changed = [n for n in (self.listings_changed, other.listings_changed) if n is not None]
        return Landed(
            self.rows + other.rows,
            self.cost + other.cost,
            sum(changed) if changed else None,
            self.failures + other.failures,
        )


@dataclass(frozen=True)
class Reached:
    """A source that answers: its clock, its names of instruments, and how many listings changed if they were read."""

    source: Source
    connection: Connection
    clock: dt.datetime
    names: Mapping[tuple[str, str], str]
    listings_changed: int | None = None


@dataclass(frozen=True)
class Order:
    """What is to be landed, and for whom: the part that does not change from venue to venue and source to source."""

    client: Client
    exchanges: Exchanges
    dataset: Dataset
    intervals: Sequence[str]
    run_id: str
    refetch: bool = False
    until: dt.datetime = NO_END  # only what closed before
    since: dt.datetime = EVER  # only what opened from then on
    only_gaps: bool = False  # only the minutes of open gaps
    written: Written = lambda windows: None  # told of each insert


def land(
    client: Client,
    exchanges: Exchanges,
    covered: Rectangle,
    dataset: Dataset,
    intervals: Sequence[str],
    *,
    run_id: str,
    refetch: bool = False,
    until: dt.datetime = NO_END,
    since: dt.datetime = EVER,
    only_gaps: bool = False,
    reached: Reached | None = None,
    written: Written = lambda windows: None,
) -> Landed:
    """Fetch what landing does not have of a rectangle, all venues at once, and append it.

    `reached` is a source that is open already, of the one venue of the rectangle. `written` is told which windows were
    just written, in the thread of their venue. Venue trouble is returned as failures
    (and in the ledger), never raised. Raises Permanent if the warehouse is fed by the other kind of venues,
    WarehouseDown, WarehouseRefused.
    """
    refuse_mixing(client, exchanges.origin)
    order = Order(client, exchanges, dataset, intervals, run_id, refetch, until, since, only_gaps, written)
    venues = {i.venue: [j for j in covered.instruments if j.venue == i.venue] for i in covered.instruments}
    with ThreadPoolExecutor(max_workers=len(venues), thread_name_prefix="venue") as pool:
        parts = [Rectangle(tuple(instruments), covered.start, covered.end) for instruments in venues.values()]
        return sum(pool.map(lambda part: _land_venue(order, part, reached), parts), Landed())


def reach(client: Client, source: Source, connection: Connection, instruments: Iterable[Instrument]) -> Reached:
    """What must be known of a source before it is asked for data. Raises what `Connection` raises."""
    clock = connection.fetch_server_time()
    if source.listings is None:
        return Reached(source, connection, clock, {(i.venue, i.symbol): i.symbol for i in instruments})
    names = venue_symbols(client, [source.venue])
    if all((i.venue, i.symbol) in names for i in instruments):
        return Reached(source, connection, clock, names)
    changed = publish_listings(client, connection.fetch_listings(), dt.datetime.now(dt.UTC))
    return Reached(source, connection, clock, venue_symbols(client, [source.venue]), len(changed))


def not_reached(
    client: Client,
    dataset: Dataset,
    left: Iterable[Window],
    error: AlphaForgeError,
    *,
    origin: str,
    source: str,
    run_id: str,
) -> Landed:
    """Note in the ledger that a source could not be asked for `left` at all."""
    failures = [_failure(w, error) for w in left]
    record_failures(client, dataset.name, failures, origin=origin, source=source, run_id=run_id)
    return Landed(failures=failures)


def _land_venue(order: Order, part: Rectangle, reached: Reached | None) -> Landed:
    """One venue's share of a rectangle: of each source in turn, what those before it could not answer."""
    dataset, venue = order.dataset, part.instruments[0].venue
    sources = ranked(venue, dataset.name, order.intervals)
    wanted = part.windows([i for i in order.intervals if any(s.serves(dataset.name, i) for s in sources)], NO_END)
    wanted = left = [replace(w, start=max(w.start, order.since)) for w in wanted if w.end > order.since]
    if order.only_gaps:
        wanted = left = _of_gaps(order, part, wanted)
    if not order.refetch:
        left = unanswered(order.client, dataset.name, wanted, chunk=dataset.chunk, final_after=dataset.final_after)
    total = Landed()
    for source in sources:
        its = [w for w in left if source.serves(dataset.name, w.interval)]
        if not its:
            continue  # it is not even asked for its clock
        if reached is not None and reached.source is source:
            landed = _land_from(order, reached, its)
        else:
            landed = _land_source(order, source, part, its)
        left = [w for w in left if w not in its] + [f.window for f in landed.failures]
        failures, landed.failures = landed.failures, []
        total = total + landed
        total.failures = [f for f in total.failures if f.window in left] + failures
    return total


def _of_gaps(order: Order, part: Rectangle, wanted: Sequence[Window]) -> list[Window]:
    """The minutes of windows in which the ledger of gaps has an open one: few of a busy day."""
    bounds = {"instruments": part.instrument_ids, "start": part.start_time, "end": part.end_time}
    gaps = statements.rows(order.client, "reads/gaps_between", **bounds, interval="", with_filled=False)
    found: set[Window] = set()
    for gap in gaps:
        low = gap["gap_start"].replace(second=0, microsecond=0)
        high = (gap["gap_end"] + MINUTE - dt.timedelta(microseconds=1)).replace(second=0, microsecond=0)
        for w in wanted:
            start, end = max(w.start, low), min(w.end, high)
            its = (w.instrument.instrument_id, order.dataset.name, w.interval)
            if its == (gap["instrument_id"], gap["dataset"], gap["interval"]) and start < end:
                found.add(replace(w, start=start, end=end))
    return sorted(found)


def _land_source(order: Order, source: Source, part: Rectangle, its: Sequence[Window]) -> Landed:
    with order.exchanges.open(source) as connection:
        try:
            reached = reach(order.client, source, connection, part.instruments)
        except AlphaForgeError as error:
            origin = order.exchanges.origin
            return not_reached(
                order.client, order.dataset, its, error, origin=origin, source=source.name, run_id=order.run_id
            )
        return _land_from(order, reached, its) + Landed(listings_changed=reached.listings_changed)


def _land_from(order: Order, reached: Reached, its: Sequence[Window]) -> Landed:
    """Ask an open source for windows, as far as they have closed, and land what it says."""
    client, dataset, source = order.client, order.dataset, reached.source
    closed_before = reached.clock - dataset.settle
    windows = list(closed(its, min(closed_before, order.until)))
    gone = [] if dataset.grid != "ids" else list(_gone(windows, reached, dataset))
    record_failures(client, dataset.name, gone, origin=order.exchanges.origin, source=source.name, run_id=order.run_id)
    kept = {w.interval: source.kept(dataset.name, w.interval) for w in windows}
    if dataset.grid != "observed":  # what it keeps no longer is not asked for: its silence would pass for an answer
        windows = [_younger(w, reached.clock, kept[w.interval]) for w in windows]
        windows = [w for w in windows if w.start < w.end]
    ask_again = order.refetch
    plan = following(client, dataset.name, windows, chunk=dataset.chunk) if ask_again else cut(windows, dataset.chunk)
    origin, run_id = order.exchanges.origin, order.run_id
    landed = Landed(failures=gone)
    for answers, failures in _slices(_ask(reached, dataset, plan, closed_before)):
        if order.exchanges.trail:
            trail.keep(order.exchanges.trail, answers)
        append(client, dataset.name, answers, origin=origin, source=source.name, run_id=run_id)
        record_failures(client, dataset.name, failures, origin=origin, source=source.name, run_id=run_id)
        order.written([a.window for a in answers])
        cost = sum((a.cost for a in answers), Cost())
        landed = landed + Landed(sum(a.rows.num_rows for a in answers), cost, None, failures)
    if dataset.grid == "observed" and kept.get("") is not None:
        _note_lost(order, reached, plan, kept[""])
    return landed


def closed(windows: Iterable[Window], before: dt.datetime) -> Iterator[Window]:
    """Windows as far as their grid had closed before a moment; to the minute where there is no grid."""
    for w in windows:
        step = INTERVAL_MS.get(w.interval, 60_000)
        floor = dt.datetime.fromtimestamp(int(before.timestamp() * 1000) // step * step / 1000, dt.UTC)
        if w.start < min(w.end, floor):
            yield Window(w.instrument, w.interval, w.start, min(w.end, floor))


def _younger(window: Window, clock: dt.datetime, kept: dt.timedelta | None) -> Window:
    """What of a window a source still serves; it may be nothing."""
    if kept is None:
        return window
    everything = Window(window.instrument, window.interval, EVER, window.end)
    gone = next(closed([everything], clock - kept), None)
    return replace(window, start=max(window.start, gone.end)) if gone else window


def _gone(windows: Iterable[Window], reached: Reached, dataset: Dataset) -> Iterator[Failure]:
    """What of windows a source serves no longer, as few as possible: another source may, and if none it is missing."""
    pieces: list[Window] = []
    for w in sorted(windows):
        younger = _younger(w, reached.clock, reached.source.kept(dataset.name, w.interval))
        if younger.start <= w.start:
            continue
        piece = replace(w, end=min(w.end, younger.start))
        last = pieces[-1] if pieces else piece
        if pieces and (last.instrument, last.interval, last.end) == (piece.instrument, piece.interval, piece.start):
            pieces[-1] = replace(last, end=piece.end)
        else:
            pieces.append(piece)
    for piece in pieces:
        kept = reached.source.kept(dataset.name, piece.interval) or dt.timedelta(0)
        error = VenueUnavailable(
            f"{reached.source.venue} serves no more than the last {int(kept.total_seconds() // 3600)} hours of"
            f" {dataset.name} by {reached.source.name}: ask for younger ones than {reached.clock - kept:%Y-%m-%d %H:%M}"
        )
        yield _failure(piece, error)


def _note_lost(order: Order, reached: Reached, plan: Sequence[Window], kept: dt.timedelta | None) -> None:
    """Put into the gaps what a source that forgets had no longer: its empty answer would pass for complete."""
    if kept is None:
        return
    concerned = {w.instrument.instrument_id for w in plan if w.start < reached.clock - kept}
    if concerned:
        now = dt.datetime.now(dt.UTC)
        statements.execute(
            order.client,
            "coverage/retention_lost",
            **order.dataset.tables,
            instruments=sorted(concerned),
            kept_s=int(kept.total_seconds()),
            skew_ms=round((reached.clock - now).total_seconds() * 1000),
            now=now,
        )


def _ask(
    reached: Reached, dataset: Dataset, plan: Sequence[Window], closed_before: dt.datetime
) -> Iterator[Answer | Failure]:
    """Answers in the order of `plan`, with WINDOWS_IN_FLIGHT_MAX of them being fetched ahead."""
    ahead = deque[tuple[Window, "Future[Fetched]"]]()
    windows = iter(plan)
    while True:
        while len(ahead) < WINDOWS_IN_FLIGHT_MAX and (w := next(windows, None)):
            name = reached.names.get((w.instrument.venue, w.instrument.symbol))
            if name is None:
                error = UnknownSymbol(
                    f"{w.instrument.venue} does not list {w.instrument.symbol}: remove it from the universe"
                )
                yield _failure(w, error)
            else:
                ahead.append((w, _submitted(reached, dataset, w, closed_before)))
        if not ahead:
            return
        w, pending = ahead.popleft()
        try:
            fetched = pending.result()
            answer = Answer(w, fetched.table, dt.datetime.now(dt.UTC), fetched.cost, dataset.id, fetched.raw)
            again = _asked_again(reached, dataset, answer, closed_before)
        except AlphaForgeError as error:
            yield _failure(w, error)
        else:
            yield answer
            yield from again


def _asked_again(reached: Reached, dataset: Dataset, answer: Answer, closed_before: dt.datetime) -> list[Answer]:
    """What the venue says of the holes of an answer, and of rows it told twice, each asked for alone.

    Each is a batch of its own: what it brings is later than the answer and wins, and the ledger says that it was asked
    for. One that cannot be had fails the whole answer: a hole nobody confirmed is not an outage.
    """

    if dataset.grid not in ("interval", "ids"):
        return []

    def ask(window: Window) -> Answer:
        fetched = _submitted(reached, dataset, window, closed_before).result()
        return Answer(window, fetched.table, dt.datetime.now(dt.UTC), fetched.cost, dataset.id, fetched.raw)

    def brings(again: Answer) -> bool:
        return bool(again.rows.num_rows)

    if dataset.id:  # what is missing was asked for by its ids
        return [ask(window) for window in holes.contradicted(answer.window, answer.rows)]
    first = holes.doubts(answer.window, answer.rows)
    answers = list(holes.until_trusted(first, ask, brings))
    if any(map(brings, answers)):
        answers += [ask(window) for window in holes.rest(answer.window, answer.rows, first)]
    return answers


def _submitted(reached: Reached, dataset: Dataset, w: Window, closed_before: dt.datetime) -> "Future[Fetched]":
    name = reached.names[w.instrument.venue, w.instrument.symbol]
    return reached.connection.submit(dataset.name, name, w.interval, w.start, w.end, closed_before)


def _slices(outcomes: Iterable[Answer | Failure]) -> Iterator[tuple[list[Answer], list[Failure]]]:
    """Outcomes in portions worth an insert: a new one when the month changes or ROWS_PER_FLUSH are waiting."""
    answers: list[Answer] = []
    failures: list[Failure] = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            failures.append(outcome)
            continue
        full = sum(a.rows.num_rows for a in answers) >= ROWS_PER_FLUSH
        if answers and (full or _month(outcome.window) != _month(answers[-1].window)):
            yield answers, failures
            answers, failures = [], []
        answers.append(outcome)
    if answers or failures:
        yield answers, failures


def _month(window: Window) -> tuple[int, int]:
    return window.start.year, window.start.month


def _failure(window: Window, error: AlphaForgeError) -> Failure:
    evidence = error.evidence if isinstance(error, VenueUnavailable) else ""
    return Failure(window, dt.datetime.now(dt.UTC), f"{type(error).__name__}: {error}", evidence)
