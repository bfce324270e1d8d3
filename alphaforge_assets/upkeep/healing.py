"""What of the gaps is asked for again, and when: few runs, ever longer pauses, and an end.

An attempt is noted in the ledger of gaps before the venue is asked, so a crash costs an attempt and never repeats one
for ever. What ends an attempt is the next judgement: bars came, or the verdict stands with the number of attempts.
"""

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.partitions import Rectangle, rectangles
from alphaforge_assets.quality import coverage
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.upkeep.jobs import TRIGGER_TAG, AssetJob
from alphaforge_assets.verdicts import ATTEMPTS
from alphaforge_assets.warehouse import statements

# Days of one instrument that are closer than this share a run: its start costs more than the days between.
MERGE_DAYS = 2
# Healing must not crowd out the work of the day: what is left over waits for the next tick.
RUNS_PER_TICK_MAX = 8
# Half the first pause between two attempts; looking costs a second.
HEAL_EVERY_S = 450


def look(client: Client, dataset: Dataset, universe: Universe, now: dt.datetime) -> None:
    """Judge what no run has judged: failed windows, and the last two days, where downtime shows.

    Raises WarehouseDown, WarehouseRefused.
    """
    instruments = dataset.instruments(universe)
    by_id = {i.instrument_id: i for i in instruments}
    today = now.date()
    recent = Rectangle(instruments, today - dt.timedelta(days=1), today + dt.timedelta(days=1))
    failed = statements.rows(client, "reads/unjudged_failures", dataset=dataset.name, instruments=list(by_id))
    spans: dict[tuple[dt.date, dt.date], list[Instrument]] = defaultdict(list)
    for row in failed:
        spans[row["start"].date(), _day_after(row["end"])].append(by_id[row["instrument_id"]])
    for (start, end), its in sorted(spans.items()):
        coverage.judge(client, Rectangle(tuple(its), start, end), dataset, universe)
    coverage.judge(client, recent, dataset, universe)


def due(client: Client, dataset: Dataset, universe: Universe, now: dt.datetime) -> list[Rectangle]:
    """What to ask for again now: whole days, neighbours together, at most RUNS_PER_TICK_MAX rectangles."""
    order = dataset.instruments(universe)
    by_id = {i.instrument_id: i for i in order}
    found = statements.rows(
        client,
        "reads/due_gaps",
        dataset=dataset.name,
        instruments=list(by_id),
        now=now,
        **ATTEMPTS,
    )
    gaps: dict[Instrument, list[tuple[dt.date, dt.date]]] = defaultdict(list)
    for row in found:
        gaps[by_id[row["instrument_id"]]].append((row["gap_start"].date(), _day_after(row["gap_end"])))
    together: dict[tuple[dt.date, dt.date], list[Instrument]] = defaultdict(list)
    for instrument, spans in gaps.items():
        for span in _merged(spans):
            together[span].append(instrument)
    runs = [
        r
        for (start, end), its in together.items()
        for r in rectangles(its, start, end, order, dataset.keys_per_run_max)
    ]
    return runs[:RUNS_PER_TICK_MAX]


def note_attempt(client: Client, dataset: Dataset, run: Rectangle, now: dt.datetime) -> None:
    """Count the attempt that is about to be made for every gap due in `run`. Raises WarehouseDown, WarehouseRefused."""
    statements.execute(
        client,
        "coverage/attempts",
        dataset=dataset.name,
        instruments=run.instrument_ids,
        start=run.start_time,
        end=run.end_time,
        now=now,
        backoff_first_s=int(coverage.BACKOFF_FIRST.total_seconds()),
        backoff_factor=coverage.BACKOFF_FACTOR,
        backoff_max_s=int(coverage.BACKOFF_MAX.total_seconds()),
        **ATTEMPTS,
    )


def heal_gaps(jobs: Mapping[str, AssetJob]) -> dg.SensorDefinition:
    """Asks the venues again for gaps that nothing explains. `jobs` is by dataset."""

    @dg.sensor(
        name="heal_gaps",
        jobs=list(jobs.values()),
        minimum_interval_seconds=HEAL_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks again for gaps that are ours or unexplained: with growing pauses, and not for ever.",
    )
    def heal_gaps(
        context: dg.SensorEvaluationContext,
        warehouse: dg.ResourceParam[Client],
        universe: dg.ResourceParam[Universe],
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = dt.datetime.now(dt.UTC)
        asked = 0
        for dataset in (DATASETS[name] for name in jobs):
            look(warehouse, dataset, universe, now)
            for part in due(warehouse, dataset, universe, now):
                note_attempt(warehouse, dataset, part, now)
                asked += 1
                yield _heal_request(dataset, part, jobs[dataset.name].name, now)
        if not asked:
            yield dg.SkipReason("no gap is due to be asked for again")

    return heal_gaps


def _heal_request(dataset: Dataset, part: Rectangle, job_name: str, now: dt.datetime) -> dg.RunRequest:
    how = {"refetch": True, **({"only_gaps": True} if dataset.id else {})}  # a day of events is too much to ask again
    identity = "|".join([dataset.name, *(i.key for i in part.instruments), str(part.start), str(part.end)])
    return dg.RunRequest(
        run_key=f"heal:{hashlib.sha256(identity.encode()).hexdigest()[:16]}:{now.isoformat()}",
        job_name=job_name,
        run_config={"ops": {dataset.chain[0]: {"config": how}}},
        tags=part.tags() | {TRIGGER_TAG: "heal"},
    )


def _merged(spans: Sequence[tuple[dt.date, dt.date]]) -> list[tuple[dt.date, dt.date]]:
    """Spans of days, those that overlap or nearly touch made one."""
    merged: list[tuple[dt.date, dt.date]] = []
    for start, end in sorted(spans):
        if merged and (start - merged[-1][1]).days <= MERGE_DAYS:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _day_after(end: dt.datetime) -> dt.date:
    """The day after the last one that [.., end) touches."""
    return (end - dt.timedelta(milliseconds=1)).date() + dt.timedelta(days=1)
