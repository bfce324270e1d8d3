"""What the venues said: fetch what no complete batch answers, and append it to landing with its ledger rows.

Nothing is judged here. A venue that fails does not stop another, nor one instrument the next; what one source cannot
answer the next one of the venue is asked for.
"""

import datetime as dt
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.errors import AlphaForgeError, UnknownSymbol, VenueUnavailable
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import holes, trail
from alphaforge_assets.pipeline.choice import BEST, Left, able, shared_out, tried
from alphaforge_assets.pipeline.gaps import of_open_gaps
from alphaforge_assets.pipeline.served import EVER, closed, windows, younger
from alphaforge_assets.universe import Instrument
from alphaforge_assets.venues.directory import Exchanges, ranked
from alphaforge_assets.venues.source import Connection, Cost, Fetched, Source
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.archive_files import publish_files
from alphaforge_assets.warehouse.batches import Answer, Failure, append, record_failures, record_unserved
from alphaforge_assets.warehouse.listings import publish_listings, venue_symbols
from alphaforge_assets.warehouse.origins import refuse_mixing
from alphaforge_assets.warehouse.windows import Window, cut, following, unanswered

# Windows in flight a venue: enough to keep its connections busy while rows are written, few enough to bound memory.
WINDOWS_IN_FLIGHT_MAX = 16
ROWS_PER_FLUSH = 250_000
NO_END = dt.datetime.max.replace(tzinfo=dt.UTC)
Written = Callable[[Sequence[Window]], None]


@dataclass
class Landed:
    """What one call of `land` did."""

    rows: int = 0
    cost: Cost = field(default_factory=Cost)
    listings_changed: int | None = None  # None: no venue's listings were read
    failures: list[Failure] = field(default_factory=list)
    gone: list[Window] = field(default_factory=list)  # what no source serves any more
    files: list[str] = field(default_factory=list)  # the status of each file that was looked at
    by_source: Counter[str] = field(default_factory=Counter)  # rows by what stands in their column `source`

    def __add__(self, other: "Landed") -> "Landed":
        changed = [n for n in (self.listings_changed, other.listings_changed) if n is not None]
        return Landed(
            self.rows + other.rows,
            self.cost + other.cost,
            sum(changed) if changed else None,
            self.failures + other.failures,
            self.gone + other.gone,
            self.files + other.files,
            self.by_source + other.by_source,
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
    wish: str = BEST  # which sources are asked
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
    wish: str = BEST,
    since: dt.datetime = EVER,
    only_gaps: bool = False,
    reached: Reached | None = None,
    written: Written = lambda windows: None,
) -> Landed:
    """Fetch what landing does not have of a rectangle, all venues at once, and append it.

    `wish` is the kind of sources to ask: rest, archive, or best, which is what brings it soonest. `reached` is a source
    that is open already, of the one venue of the rectangle. `written` is told which windows were
    just written, in the thread of their venue. Venue trouble is returned as failures
    (and in the ledger), never raised. Raises Permanent if the warehouse is fed by the other kind of venues,
    WarehouseDown, WarehouseRefused.
    """
    refuse_mixing(client, exchanges.origin)
    order = Order(client, exchanges, dataset, intervals, run_id, refetch, until, wish, since, only_gaps, written)
    venues = {i.venue: [j for j in covered.instruments if j.venue == i.venue] for i in covered.instruments}
    with ThreadPoolExecutor(max_workers=len(venues), thread_name_prefix="venue") as pool:
        parts = [Rectangle(tuple(instruments), covered.start, covered.end) for instruments in venues.values()]
        return sum(pool.map(lambda part: _land_venue(order, part, reached), parts), Landed())


def reach(client: Client, source: Source, connection: Connection, instruments: Iterable[Instrument]) -> Reached:
    """What must be known of a source before it is asked for data. Raises what `Connection` raises."""
    clock = connection.fetch_server_time()
    if source.listings is None:
        return Reached(source, connection, clock, {(i.venue, i.symbol): i.symbol for i in instruments})
    names = venue_symbols(client, [source.venue], instruments)
    if all((i.venue, i.symbol) in names for i in instruments):
        return Reached(source, connection, clock, names)
    changed = publish_listings(client, connection.fetch_listings(), dt.datetime.now(dt.UTC))
    return Reached(source, connection, clock, venue_symbols(client, [source.venue], instruments), len(changed))


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
    wanted = windows(dataset, part, order.intervals, NO_END)
    wanted = left = [replace(w, start=max(w.start, order.since)) for w in wanted if w.end > order.since]
    if order.only_gaps:
        wanted = left = of_open_gaps(order.client, dataset, part, wanted)
    if not order.refetch:
        left = unanswered(order.client, dataset.name, wanted, chunk=dataset.portion, final_after=dataset.final_after)
    total, refused, gone = Landed(), list[Failure](), list[Window]()
    waiting, now = [Left(w) for w in (cut(left, dataset.portion) if dataset.id else left)], dt.datetime.now(dt.UTC)

    def is_left(one: Left, wish: str = order.wish) -> bool:
        return bool(able(sources, dataset.name, one, wish, now))

    while waiting:
        shares = shared_out(sources, dataset.name, waiting, order.wish, now)
        refused += _unserved(order, waiting, [one for _, its in shares for one in its])
        waiting = []
        for source, its in shares:  # a source that none is for is not even asked for its clock
            asked = [one.window for one in its]
            if reached is not None and reached.source is source:
                landed = _land_from(order, reached, asked)
            else:
                landed = _land_source(order, source, part, asked)
            failed = tried(source, its, [f.window for f in landed.failures])
            let_go = tried(source, its, landed.gone, let_go=True)
            # What another kind of source has is not gone: nobody is to be asked for it, which the next round says.
            kept = [one for one in let_go if is_left(one) or is_left(one, BEST)]
            waiting += [one for one in failed if is_left(one)] + kept
            pairs = zip(landed.failures, failed, strict=True)
            refused += [failure for failure, one in pairs if not is_left(one)]
            gone += [one.window for one in let_go if one not in kept]
            total = total + replace(landed, failures=[], gone=[])
    if gone:
        _note_gone(order, sources[-1], gone)
    return replace(total, failures=refused, gone=gone)


def _unserved(order: Order, waiting: Sequence[Left], served: Sequence[Left]) -> list[Failure]:
    """What nobody is to be asked for, because of the kind of source that was wished for."""
    windows = [one.window for one in waiting if one not in served]
    if not windows:
        return []
    error = VenueUnavailable(f"no source of the kind {order.wish!r} has it: ask {BEST!r}")
    origin = order.exchanges.origin
    return not_reached(
        order.client, order.dataset, windows, error, origin=origin, source=order.wish, run_id=order.run_id
    ).failures


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
    asked = list(closed(its, min(closed_before, order.until)))
    origin, run_id = order.exchanges.origin, order.run_id
    lock = order.exchanges.writing(source.venue, dataset.name)
    kept = {w.interval: source.kept(dataset.name, w.interval) for w in asked}
    landed = Landed()
    if dataset.grid != "observed":  # what it keeps no longer is not asked for: its silence would pass for an answer
        still = [younger(w, reached.clock, kept[w.interval]) for w in asked]
        before = [replace(w, end=min(w.end, young.start)) for w, young in zip(asked, still, strict=True)]
        landed.gone = [w for w in before if w.start < w.end]
        asked = [w for w in still if w.start < w.end]
    plan = following(client, dataset.name, asked, chunk=dataset.chunk) if order.refetch else cut(asked, dataset.chunk)
    for answers, failures, gone in _slices(_ask(reached, dataset, plan, closed_before)):
        trail.keep(order.exchanges.trail, answers)
        outcomes: list[Answer | Failure] = [*answers, *failures]
        seen = [(one.window.instrument, one.window.interval, file) for one in outcomes for file in one.files]
        publish_files(client, seen, origin)  # first: a window that is answered is not asked for its files again
        append(client, dataset.name, answers, origin=origin, source=source.name, run_id=run_id, lock=lock)
        if dataset.grid == "sampled":  # what the venue has no file of, nobody has: it is gone, and nothing failed
            failures, without = holes.without_files(failures)
            gone = [*gone, *without]
        record_failures(client, dataset.name, failures, origin=origin, source=source.name, run_id=run_id)
        order.written([a.window for a in answers])
        cost = sum((a.cost for a in answers), Cost())
        by_source = Counter[str]()
        for a in answers:
            by_source[a.source or source.name] += a.rows.num_rows
        statuses: list[str] = [file.status for _, _, file in seen]
        landed = landed + Landed(by_source.total(), cost, None, failures, gone, statuses, by_source)
    if dataset.grid == "observed" and kept.get("") is not None:
        _note_lost(order, reached, plan, kept[""])
    return landed


def _note_gone(order: Order, last: Source, gone: Sequence[Window]) -> None:
    """Put into the ledger what nobody serves any more, once: it was wanted, and there is nobody to ask."""
    name, origin = order.dataset.name, order.exchanges.origin
    never = unanswered(order.client, name, gone, chunk=order.dataset.chunk)
    record_unserved(order.client, name, never, origin=origin, source=last.name, run_id=order.run_id)


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
) -> Iterator[Answer | Failure | Window]:
    """Answers in the order of `plan`, with WINDOWS_IN_FLIGHT_MAX of them being fetched ahead.

    A window is what the source turned out to serve no longer.
    """
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
            answer = _answered(w, pending.result(), dataset)
            again = []
            if reached.source.settles_holes:
                again = _asked_again(reached, dataset, answer, closed_before)
        except AlphaForgeError as error:
            yield _failure(w, error)
            continue
        if answer.window.start > w.start:
            yield replace(w, end=answer.window.start)
        if answer.window.start < w.end:
            yield from holes.in_parts(reached.source.name, answer) if not reached.source.settles_holes else [answer]
            yield from again


def _answered(window: Window, fetched: Fetched, dataset: Dataset) -> Answer:
    """An answer to as much of a window as the source still had."""
    its, now = fetched, dt.datetime.now(dt.UTC)
    of = replace(window, start=max(window.start, its.since or EVER))
    return Answer(of, its.table, now, its.cost, its.source, its.files, dataset.id, its.raw, lacks=its.lacks)


def _asked_again(reached: Reached, dataset: Dataset, answer: Answer, closed_before: dt.datetime) -> list[Answer]:
    """What the venue says of the holes of an answer, and of rows it told twice, each asked for alone.

    Each is a batch of its own: what it brings is later than the answer and wins, and the ledger says that it was asked
    for. One that cannot be had fails the whole answer: a hole nobody confirmed is not an outage.
    """

    if dataset.grid not in ("interval", "ids"):
        return []

    def ask(window: Window) -> Answer:
        return _answered(window, _submitted(reached, dataset, window, closed_before).result(), dataset)

    def brings(again: Answer) -> bool:
        return bool(again.rows.num_rows)

    if dataset.id:  # what is missing was asked for by its ids
        alone = [ask(window) for window in holes.contradicted(answer.window, answer.rows)]
        return [again for again in alone if again.window.start < again.window.end]
    first = holes.doubts(answer.window, answer.rows)
    answers = list(holes.until_trusted(first, ask, brings))
    if any(map(brings, answers)):
        answers += [ask(window) for window in holes.rest(answer.window, answer.rows, first)]
    return answers


def _submitted(reached: Reached, dataset: Dataset, w: Window, closed_before: dt.datetime) -> "Future[Fetched]":
    name = reached.names[w.instrument.venue, w.instrument.symbol]
    return reached.connection.submit(dataset.name, name, w.interval, w.start, w.end, closed_before)


def _slices(
    outcomes: Iterable[Answer | Failure | Window],
) -> Iterator[tuple[list[Answer], list[Failure], list[Window]]]:
    """Outcomes in portions worth an insert: a new one when the month changes or ROWS_PER_FLUSH are waiting."""
    answers: list[Answer] = []
    failures: list[Failure] = []
    gone: list[Window] = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            failures.append(outcome)
            continue
        if isinstance(outcome, Window):
            gone.append(outcome)
            continue
        full = sum(a.rows.num_rows for a in answers) >= ROWS_PER_FLUSH
        if answers and (full or _month(outcome.window) != _month(answers[-1].window)):
            yield answers, failures, gone
            answers, failures, gone = [], [], []
        answers.append(outcome)
    if answers or failures or gone:
        yield answers, failures, gone


def _month(window: Window) -> tuple[int, int]:
    return window.start.year, window.start.month


def _failure(window: Window, error: AlphaForgeError) -> Failure:
    evidence, files = (error.evidence, error.files) if isinstance(error, VenueUnavailable) else ("", ())
    return Failure(window, dt.datetime.now(dt.UTC), f"{type(error).__name__}: {error}", evidence, files)
