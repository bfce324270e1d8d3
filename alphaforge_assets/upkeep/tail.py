"""The open day: every few minutes one run asks all venues for what has closed since, and publishes it.

`live_tail` is a refresh from yesterday to now by each venue's own clock, so it also makes up for what a failed run or a
short downtime left; whole days are day_close's. A fresh warehouse starts at yesterday's midnight: history is a backfill
that somebody asks for. Each venue is refreshed by itself, so a slow one keeps no other waiting. One run costs a few
dozen events, whatever the number of instruments.

1m bars of instruments whose stream speaks are left to it, but once an hour: then REST is asked for all that no answer
covers, which proves what is there and what is not.
"""

import datetime as dt
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.catalog import row_counts
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.errors import AlphaForgeError
from alphaforge_assets.failpoints import passing
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import served
from alphaforge_assets.pipeline.landing import Landed, not_reached, reach
from alphaforge_assets.pipeline.mart import Lock, publishing
from alphaforge_assets.pipeline.served import EVER
from alphaforge_assets.refresh import refresh
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.upkeep.runs import LIVE_TAIL
from alphaforge_assets.venues.directory import REST, Exchanges
from alphaforge_assets.venues.source import Patience
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.origins import refuse_mixing
from alphaforge_assets.warehouse.windows import Window, unanswered

# A bar is to be seen within five minutes of its close. One that closes just after a run began waits for the next, all
# but a minute of this, and for that run to start, fetch and publish: 12 s, but 70 to 85 s on two overloaded cores.
EVERY = dt.timedelta(minutes=4)
# A venue that does not answer by then is asked again by the next run; the rest of this one must not wait.
PATIENCE = Patience(request_s=10.0, total_s=40.0, attempts=3)

# What the stream tells. It speaks of an instrument when a bar came within QUIET that opened within LIVE: a journal that
# is read again tells older ones. Two bars may be late or left out before REST is asked.
STREAMED = "1m"
QUIET = dt.timedelta(seconds=180)
LIVE = dt.timedelta(minutes=10)
# An hour is asked of REST when it is over for so long: its last bars have settled, and the stream's have come.
AUDIT_AFTER = dt.timedelta(minutes=3)

FAILED_TAG = "alphaforge/failed_instruments"
NAMED_MAX = 20


@dataclass
class Tailed:
    """What became of one venue: what was landed by dataset, and why it could not be reached if it could not.

    `streamed` is of how many instruments the 1m bars were left to the stream.
    """

    venue: str
    landed: dict[str, Landed] = field(default_factory=dict)
    unreachable: str = ""
    streamed: int = 0

    def add(self, dataset: Dataset, landed: Landed) -> None:
        """What was landed of a part of a dataset."""
        self.landed[dataset.name] = self.landed.get(dataset.name, Landed()) + landed

    @property
    def failed(self) -> dict[str, str]:
        """Instrument key -> why."""
        return {f.window.instrument.key: f.error for its in self.landed.values() for f in its.failures}


@dataclass(frozen=True)
class Question:
    """What a run asks of a dataset of a venue: the windows of `part` on `intervals`, from `since` on."""

    dataset: Dataset
    part: Rectangle
    intervals: tuple[str, ...]
    since: dt.datetime


def tail(client: Client, exchanges: Exchanges, universe: Universe, *, run_id: str, lock: Lock) -> list[Tailed]:
    """Land, stage and publish what has closed since yesterday and was not asked for, all venues at once.

    `lock` gives what is held while a dataset is published. A venue's trouble is in its `Tailed` and in the ledger.
    Raises Permanent if the warehouse is fed by the other kind of venues, WarehouseDown, WarehouseRefused.
    """
    refuse_mixing(client, exchanges.origin)
    with ThreadPoolExecutor(max_workers=len(universe.venues), thread_name_prefix="tail") as pool:
        return list(pool.map(lambda venue: _tail(client, exchanges, universe, venue, run_id, lock), universe.venues))


def tailed() -> list[Dataset]:
    """The datasets that the tail keeps."""
    return [d for d in DATASETS.values() if d.tail]


def until_settled(now: dt.datetime) -> dt.timedelta:
    """How long to wait for the bar that closed this minute: a run started on the minute would just miss it."""
    settled = now.replace(second=0, microsecond=0) + min(d.settle for d in tailed()) + dt.timedelta(seconds=1)
    return max(settled - now, dt.timedelta(0))


def _tail(client: Client, exchanges: Exchanges, universe: Universe, venue: str, run_id: str, lock: Lock) -> Tailed:
    its, source = Tailed(venue), REST[venue]
    instruments = [i for i in universe.instruments if i.venue == venue]
    with exchanges.open(source, PATIENCE) as connection:
        try:
            reached = reach(client, source, connection, instruments)
        except AlphaForgeError as error:
            its.unreachable = f"{type(error).__name__}: {error}"
            now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
            streamed = _left_to_the_stream(client, universe, instruments, now)
            its.streamed = len(streamed)
            for asked in _questions(client, universe, venue, now, streamed):
                left = _left(client, asked.dataset, asked.part, asked.intervals, now)
                left = [replace(w, start=max(w.start, asked.since)) for w in left if w.end > asked.since]
                its.add(asked.dataset, not_reached(
                    client, asked.dataset, left, error, origin=exchanges.origin, source=source.name, run_id=run_id
                ))  # fmt: skip
            return its
        passing("tail.reached")
        streamed = _left_to_the_stream(client, universe, instruments, reached.clock)
        its.streamed = len(streamed)
        for asked in _questions(client, universe, venue, reached.clock, streamed):
            ends = asked.dataset.tail
            landed = refresh(
                client,
                exchanges,
                universe,
                asked.part,
                asked.dataset,
                run_id=run_id,
                until=ends.until(reached.clock - asked.dataset.settle) if ends else reached.clock,
                since=asked.since,
                intervals=asked.intervals,
                reached=reached,
                lock=lock,
                is_judged=False,  # the open day is judged when it closes, and by healing
            )
            its.add(asked.dataset, landed)
    return its


def _left_to_the_stream(
    client: Client, universe: Universe, instruments: Sequence[Instrument], now: dt.datetime
) -> frozenset[Instrument]:
    """Instruments whose 1m bars REST is not asked for: the stream speaks of them, and their audit is not due.

    The audit is due while anything before the last whole hour is without an answer, so it comes once an hour, and one
    that failed or was missed is made up for by the next run.
    """
    if STREAMED not in BARS.intervals(universe):
        return frozenset()
    found = statements.rows(
        client,
        "reads/streamed_lately",
        instruments=sorted(i.instrument_id for i in instruments),
        opened=now - LIVE,
        came=dt.datetime.now(dt.UTC) - QUIET,
    )
    spoken = {row["instrument_id"] for row in found}
    told = tuple(i for i in instruments if i.instrument_id in spoken)
    if not told:
        return frozenset()
    hour = (now - AUDIT_AFTER).replace(minute=0, second=0, microsecond=0)
    due = {w.instrument for w in _left(client, BARS, _days(told, now), (STREAMED,), hour)}
    return frozenset(told) - due


def _days(instruments: tuple[Instrument, ...], now: dt.datetime) -> Rectangle:
    """Yesterday and today."""
    return Rectangle(instruments, now.date() - dt.timedelta(days=1), now.date() + dt.timedelta(days=1))


def _questions(
    client: Client, universe: Universe, venue: str, now: dt.datetime, streamed: Collection[Instrument]
) -> Iterator[Question]:
    """Yesterday and today of each dataset that a venue has, and from when on: EVER but for what has a cold start.

    Of `streamed` 1m bars are left out.
    """
    for dataset in tailed():
        instruments = tuple(i for i in dataset.instruments(universe) if i.venue == venue)
        if not instruments:
            continue
        every = tuple(dataset.intervals(universe))
        whole = _days(instruments, now)
        since = dict.fromkeys(instruments, EVER)
        if dataset.tail and dataset.tail.cold_start:
            minute = now.replace(second=0, microsecond=0)
            since |= _ended(client, dataset, whole, every, minute, minute - dataset.tail.cold_start)
        shorter = {i: tuple(x for x in every if x != STREAMED) for i in streamed} if dataset is BARS else {}
        ways = {i: (since[i], shorter.get(i, every)) for i in instruments}
        for moment, intervals in sorted(set(ways.values())):
            if intervals:
                its = tuple(i for i in instruments if ways[i] == (moment, intervals))
                yield Question(dataset, replace(whole, instruments=its), intervals, moment)


def _ended(
    client: Client, dataset: Dataset, part: Rectangle, intervals: Sequence[str], now: dt.datetime, cold: dt.datetime
) -> dict[Instrument, dt.datetime]:
    """Where the answers to each instrument end, and `cold` where there are none since yesterday."""
    left: dict[Instrument, dt.datetime] = {}
    for window in _left(client, dataset, part, intervals, now):  # in order of time
        if window.end == now:
            left[window.instrument] = window.start
    return {
        i: cold if left.get(i) == max(part.start_time, _midnight(i)) else left.get(i, now) for i in part.instruments
    }


def _midnight(instrument: Instrument) -> dt.datetime:
    """When an instrument begins to be kept."""
    return dt.datetime.combine(instrument.listed_from, dt.time(), dt.UTC)


def _left(
    client: Client, dataset: Dataset, part: Rectangle, intervals: Sequence[str], now: dt.datetime
) -> list[Window]:
    """What should have been asked of a venue by now, in windows that end where an answer begins."""
    wanted = served.windows(dataset, part, intervals, now)
    return served.still(dataset, unanswered(client, dataset.name, wanted, chunk="year"), now)


@dg.op(
    name="tail",
    description="Lands, stages and publishes what has closed since the last run, of all instruments of the universe.",
    out=dg.Out(dg.Nothing),
)
def tail_op(
    context: dg.OpExecutionContext,
    warehouse: dg.ResourceParam[Client],
    exchanges: dg.ResourceParam[Exchanges],
    universe: dg.ResourceParam[Universe],
) -> None:
    """One run of the tail. Fails, after all else is published, when a venue could not be reached at all."""
    time.sleep(until_settled(dt.datetime.now(dt.UTC)).total_seconds())
    instance = context.instance
    lock = publishing(Path(instance.root_directory))
    tails = tail(warehouse, exchanges, universe, run_id=context.run_id, lock=lock)
    today = dt.datetime.now(dt.UTC).date()
    for dataset in (d for d in tailed() if d.instruments(universe)):
        rows = sum(t.landed[dataset.name].rows for t in tails if dataset.name in t.landed)
        # Of the view: one of the mart, without partitions, would be newer than all its checks, which the UI then calls
        # not evaluated. The count is there because the UI shows the latest materialization's.
        days = Rectangle(dataset.instruments(universe), today - dt.timedelta(days=1), today + dt.timedelta(days=1))
        counts = row_counts(warehouse, dataset.name, days) | {"rows_fetched": dg.MetadataValue.int(rows)}
        context.log_event(dg.AssetMaterialization(asset_key=dataset.view, metadata=counts))
    failed = {key: why for t in tails for key, why in sorted(t.failed.items())}
    metadata = _metadata(tails, failed)
    if failed:
        named = ", ".join(list(failed)[:NAMED_MAX]) + (" …" if len(failed) > NAMED_MAX else "")
        instance.add_run_tags(context.run_id, {FAILED_TAG: named})
        context.log.warning(f"{len(failed)} instruments were not fetched and are asked for again: {named}")
    unreachable = {t.venue: t.unreachable for t in tails if t.unreachable}
    if unreachable:
        raise dg.Failure(
            description="; ".join(f"{venue} could not be reached: {why}" for venue, why in unreachable.items()),
            metadata=metadata | {"failed_venues": dg.MetadataValue.json(unreachable)},
            allow_retries=False,
        )
    context.add_output_metadata(metadata)


def _metadata(tails: list[Tailed], failed: Mapping[str, str]) -> dict[str, dg.MetadataValue]:
    every = [landed for t in tails for landed in t.landed.values()]
    table = [
        dg.TableRecord(
            {"venue": t.venue, "dataset": name, "rows": x.rows, "requests": x.cost.requests, "weight": x.cost.weight}
        )
        for t in tails
        for name, x in t.landed.items()
    ]
    return {
        "rows_fetched": dg.MetadataValue.int(sum(x.rows for x in every)),
        "requests": dg.MetadataValue.int(sum(x.cost.requests for x in every)),
        "left_to_the_stream": dg.MetadataValue.int(sum(t.streamed for t in tails)),
        "by_venue": dg.MetadataValue.table(table),
        "failed_instruments": dg.MetadataValue.json(dict(failed)),
    }


@dg.job(
    name=LIVE_TAIL,
    description="Closed bars and new funding of the open day, of all instruments, in one run every few minutes.",
    # A run that hangs must not keep the next ones out for hours; a failed one is made up for by the next.
    # What is queued behind healing and backfills comes too late.
    tags={"dagster/max_runtime": "900", "dagster/max_retries": "0", "dagster/priority": "10"},
    executor_def=dg.in_process_executor,
)
def live_tail() -> None:
    """The job of `tail_op`."""
    tail_op()


UNDER_WAY = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def schedule(*, running: bool) -> dg.ScheduleDefinition:
    """`live_tail`, EVERY so often; a run that is slower than that is left to finish alone."""

    @dg.schedule(
        name=LIVE_TAIL,
        job=live_tail,
        cron_schedule=f"*/{EVERY.seconds // 60} * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        description=f"Closed bars and new funding of the open day, every {EVERY.seconds // 60} minutes, one at a time.",
    )
    def live_tail_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        under_way = dg.RunsFilter(job_name=live_tail.name, statuses=list(UNDER_WAY))
        if context.instance.get_runs_count(under_way):
            return dg.SkipReason("the last run is still under way")
        return dg.RunRequest()

    return live_tail_schedule
