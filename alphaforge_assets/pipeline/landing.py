"""What the venues said: fetch what no complete batch answers, and append it to landing with its ledger rows.

Nothing is judged here. A venue that fails does not stop another, nor one instrument the next.
"""

import datetime as dt
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.catalog import described, record_beside, row_counts
from alphaforge_assets.datasets import DATASETS, FUNDING_RATES, Dataset
from alphaforge_assets.errors import AlphaForgeError, UnknownSymbol, VenueUnavailable
from alphaforge_assets.partitions import Rectangle, backfill_policy, rectangle
from alphaforge_assets.resources import Exchanges
from alphaforge_assets.universe import FEAR_GREED, INTERVAL_MS, Instrument, Universe
from alphaforge_assets.venues.alternative_me import Index
from alphaforge_assets.venues.connection import Connection, Fetched
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.batches import (
    Answer,
    Failure,
    Window,
    append,
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


class Fetch(dg.Config):
    """How to fetch."""

    refetch: bool = False  # ask again also for what complete batches answer: changed bars become new versions


@dataclass
class Landed:
    """What one call of `land` did."""

    rows: int = 0
    requests: int = 0
    weight: int = 0
    retries: int = 0
    waited_s: float = 0.0
    listings_changed: int | None = None  # None: no venue's listings were read
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: "Landed") -> None:
        self.rows += other.rows
        self.requests += other.requests
        self.weight += other.weight
        self.retries += other.retries
        self.waited_s += other.waited_s
        self.failures += other.failures
        if other.listings_changed is not None:
            self.listings_changed = (self.listings_changed or 0) + other.listings_changed


@dataclass(frozen=True)
class Reached:
    """A venue that answers: its clock, its names of instruments, and how many listings changed if they were read."""

    clock: dt.datetime
    names: dict[tuple[str, str], str]
    listings_changed: int | None


def land(
    client: Client,
    exchanges: Exchanges,
    covered: Rectangle,
    dataset: Dataset,
    intervals: Sequence[str],
    *,
    run_id: str,
    refetch: bool = False,
) -> Landed:
    """Fetch what landing does not have of a rectangle, all venues at once, and append it.

    Venue trouble is returned as failures (and in the ledger), never raised. Raises Permanent if the warehouse is fed by
    the other kind of venues, WarehouseDown, WarehouseRefused.
    """
    refuse_mixing(client, exchanges.origin)
    venues = {i.venue: [j for j in covered.instruments if j.venue == i.venue] for i in covered.instruments}
    total = Landed()
    with ThreadPoolExecutor(max_workers=len(venues), thread_name_prefix="venue") as pool:
        parts = [Rectangle(tuple(instruments), covered.start, covered.end) for instruments in venues.values()]
        lands = pool.map(lambda part: _land_venue(client, exchanges, part, dataset, intervals, run_id, refetch), parts)
        for landed in lands:
            total.add(landed)
    return total


def asset(dataset: Dataset, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset `landing_<dataset>`."""
    name = f"landing_{dataset.name}"

    @dg.asset(
        name=name,
        partitions_def=partitions,
        backfill_policy=backfill_policy(dataset),
        deps=[] if dataset.only else ["instruments"],
        **described(name),
    )
    def landing(
        context: dg.AssetExecutionContext,
        config: Fetch,
        warehouse: dg.ResourceParam[Client],
        exchanges: dg.ResourceParam[Exchanges],
        universe: dg.ResourceParam[Universe],
    ) -> dg.MaterializeResult[None]:
        covered = rectangle(context.partition_keys, universe)
        intervals = dataset.intervals(universe)
        landed = land(warehouse, exchanges, covered, dataset, intervals, run_id=context.run_id, refetch=config.refetch)
        record_beside(context, "ingest_batches", _metadata(landed))
        if landed.listings_changed is not None:
            record_beside(context, "instruments", {"versions_added": dg.MetadataValue.int(landed.listings_changed)})
        if landed.failures:
            _report_failures(context, covered, landed)
        return dg.MaterializeResult(metadata=_metadata(landed) | row_counts(warehouse, name, covered))

    return landing


def specs() -> list[dg.AssetSpec]:
    """The ledger, written with every landing table and shown in the lineage."""
    return [dg.AssetSpec("ingest_batches", deps=[d.chain[0] for d in DATASETS.values()], **described("ingest_batches"))]


def _report_failures(context: dg.AssetExecutionContext, covered: Rectangle, landed: Landed) -> None:
    """Record the partitions that are whole, then fail naming the others: Dagster would otherwise drop them all."""
    bad = {(f.window.instrument, day) for f in landed.failures for day in _days(f.window)}
    for instrument in covered.instruments:
        for key in covered.keys(instrument):
            day = dt.date.fromisoformat(key.partition("|")[0])
            if (instrument, day) not in bad:
                context.log_event(dg.AssetMaterialization(asset_key=context.asset_key, partition=key))
    reasons = {f.window.instrument.key: f.error for f in landed.failures}
    named = "; ".join(f"{key}: {reason}" for key, reason in sorted(reasons.items()))
    raise dg.Failure(
        description=f"{len(reasons)} of {len(covered.instruments)} instruments were not fetched completely. {named}",
        metadata=_metadata(landed) | {"failed_instruments": reasons},
        allow_retries=False,
    )


def _days(window: Window) -> list[dt.date]:
    last = (window.end - dt.timedelta(milliseconds=1)).date()
    return [window.start.date() + dt.timedelta(days=n) for n in range((last - window.start.date()).days + 1)]


def _metadata(landed: Landed) -> dict[str, dg.MetadataValue]:
    return {
        "rows_fetched": dg.MetadataValue.int(landed.rows),
        "requests": dg.MetadataValue.int(landed.requests),
        "weight": dg.MetadataValue.int(landed.weight),
        "retries": dg.MetadataValue.int(landed.retries),
        "waited_s": dg.MetadataValue.float(round(landed.waited_s, 3)),
    }


def _land_venue(
    client: Client,
    exchanges: Exchanges,
    part: Rectangle,
    dataset: Dataset,
    intervals: Sequence[str],
    run_id: str,
    refetch: bool,
) -> Landed:
    """One venue's share of a rectangle."""
    wanted = part.windows(intervals, NO_END)
    left = wanted if refetch else unanswered(client, dataset.name, wanted, final_after=dataset.final_after)
    if not left:
        return Landed()  # the venue is not even asked for its clock
    with exchanges.open_index() if dataset.only else exchanges.open(part.instruments[0].venue) as connection:
        try:
            reached = reach(client, connection, part.instruments)
        except AlphaForgeError as error:
            return not_reached(client, dataset, left, error, origin=exchanges.origin, run_id=run_id)
        landed = land_from(
            client, connection, reached, part, dataset, intervals, exchanges.origin, run_id, refetch=refetch
        )
        landed.listings_changed = reached.listings_changed
        return landed


def reach(client: Client, connection: Connection | Index, instruments: Iterable[Instrument]) -> Reached:
    """What must be known of a venue before it is asked for data. Raises what `Connection` raises."""
    clock = connection.fetch_server_time()
    return Reached(clock, *_names(client, connection, instruments))


def not_reached(
    client: Client, dataset: Dataset, left: Iterable[Window], error: AlphaForgeError, *, origin: str, run_id: str
) -> Landed:
    """Note in the ledger that a venue could not be asked for `left` at all."""
    failures = [_failure(w, error) for w in left]
    record_failures(client, dataset.name, failures, origin=origin, run_id=run_id)
    return Landed(failures=failures)


def land_from(
    client: Client,
    connection: Connection | Index,
    reached: Reached,
    part: Rectangle,
    dataset: Dataset,
    intervals: Sequence[str],
    origin: str,
    run_id: str,
    *,
    refetch: bool = False,
    until: dt.datetime = NO_END,
) -> Landed:
    """Land one venue's share of a rectangle from an open connection, what closed before `until` only.

    Trouble of single windows is returned as failures. Raises WarehouseDown, WarehouseRefused.
    """
    closed_before = reached.clock - dataset.settle
    closed = [w for i in intervals for w in part.windows([i], min(_floor(closed_before, i), until))]
    if refetch:
        plan = following(client, dataset.name, closed, months=dataset.window_months)
    else:
        plan = unanswered(client, dataset.name, closed, months=dataset.window_months, final_after=dataset.final_after)
    landed = Landed()
    for answers, failures in _slices(_ask(connection, dataset, plan, reached.names, closed_before)):
        append(client, dataset.name, answers, origin=origin, source="rest", run_id=run_id)
        record_failures(client, dataset.name, failures, origin=origin, run_id=run_id)
        landed.add(_summed(answers, failures))
    if isinstance(connection, Connection) and dataset is FUNDING_RATES:
        _note_lost(client, connection, reached, plan)
    return landed


def _note_lost(client: Client, connection: Connection, reached: Reached, plan: Sequence[Window]) -> None:
    """Put into the gaps what a venue that forgets had no longer: its empty answer would pass for complete."""
    kept = connection.venue.funding.kept_days if connection.venue.funding else None
    if kept is None:
        return
    concerned = {w.instrument.instrument_id for w in plan if w.start < reached.clock - dt.timedelta(days=kept)}
    if concerned:
        now = dt.datetime.now(dt.UTC)
        statements.execute(
            client,
            "coverage/retention_lost",
            dataset=FUNDING_RATES.name,
            instruments=sorted(concerned),
            kept_s=kept * 86_400,
            skew_ms=round((reached.clock - now).total_seconds() * 1000),
            now=now,
        )


def _names(
    client: Client, connection: Connection | Index, instruments: Iterable[Instrument]
) -> tuple[dict[tuple[str, str], str], int | None]:
    """The venue's own names, and how many listings changed if they had to be read.

    They are read from the venue when the warehouse has not seen one of the instruments.
    """
    if isinstance(connection, Index):
        return {(FEAR_GREED.venue, FEAR_GREED.symbol): FEAR_GREED.symbol}, None
    venue = connection.venue.name
    names = venue_symbols(client, [venue])
    if all((i.venue, i.symbol) in names for i in instruments):
        return names, None
    changed = publish_listings(client, connection.fetch_listings(), dt.datetime.now(dt.UTC))
    return venue_symbols(client, [venue]), len(changed)


def _ask(
    connection: Connection | Index,
    dataset: Dataset,
    plan: Sequence[Window],
    names: Mapping[tuple[str, str], str],
    closed_before: dt.datetime,
) -> Iterator[Answer | Failure]:
    """Answers in the order of `plan`, with WINDOWS_IN_FLIGHT_MAX of them being fetched ahead."""
    ahead = deque[tuple[Window, "Future[Fetched]"]]()
    windows = iter(plan)
    while True:
        while len(ahead) < WINDOWS_IN_FLIGHT_MAX and (w := next(windows, None)):
            name = names.get((w.instrument.venue, w.instrument.symbol))
            if name is None:
                error = UnknownSymbol(
                    f"{w.instrument.venue} does not list {w.instrument.symbol}: remove it from the universe"
                )
                yield _failure(w, error)
            else:
                ahead.append((w, dataset.ask(connection, name, w, closed_before)))
        if not ahead:
            return
        w, pending = ahead.popleft()
        try:
            fetched = pending.result()
        except AlphaForgeError as error:
            yield _failure(w, error)
        else:
            yield Answer(
                w,
                fetched.table,
                dt.datetime.now(dt.UTC),
                fetched.requests,
                fetched.weight,
                fetched.retries,
                fetched.waited_s,
            )


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


def _summed(answers: Sequence[Answer], failures: list[Failure]) -> Landed:
    return Landed(
        rows=sum(a.rows.num_rows for a in answers),
        requests=sum(a.requests for a in answers),
        weight=sum(a.weight for a in answers),
        retries=sum(a.retries for a in answers),
        waited_s=sum(a.waited_s for a in answers),
        failures=failures,
    )


def _floor(moment: dt.datetime, interval: str) -> dt.datetime:
    """The last moment on the interval's grid; on the minute's where there is no grid."""
    step = INTERVAL_MS.get(interval, 60_000)
    return dt.datetime.fromtimestamp(int(moment.timestamp() * 1000) // step * step / 1000, dt.UTC)
