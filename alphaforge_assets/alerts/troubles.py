"""What is wrong right now: one record a trouble, found by looking at runs, venues, freshness, gaps and scores.

A look decides nothing about who is told. Each trouble lasts as long as a look finds it, so each is a condition and not
an event: a failed run is one until its job succeeds again.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.errors import AlphaForgeError
from alphaforge_assets.intervals import length_of, price_of
from alphaforge_assets.quality import freshness
from alphaforge_assets.research import snapshots
from alphaforge_assets.settings import Settings
from alphaforge_assets.universe import FEAR_GREED, Universe
from alphaforge_assets.upkeep.jobs import assets_of, job_name
from alphaforge_assets.venues.governor import held
from alphaforge_assets.verdicts import UNEXPLAINED
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import open_warehouse

# A failure is told of even if the next run of its job succeeds at once, and is over when it has not failed for so long.
QUIET = dt.timedelta(minutes=30)
# What happened longer ago and is not going on is for the report, not for somebody's telephone.
RECENT = dt.timedelta(days=7)
SCORED = dt.timedelta(days=31)
RUNS_MAX = 200
# Venues ask for pauses of seconds every day; from this on it is a ban.
BAN = dt.timedelta(minutes=1)
# After a downtime everything is late until the live tail has come by, twice at most.
CATCH_UP = dt.timedelta(minutes=10)
# What the first attempts of healing bring needs nobody.
ATTEMPTS_BEFORE_ALERT = 2
WORDS_MAX = 200
_WILL_RETRY_TAG = "dagster/will_retry"
# The implicit job is that of the command line and of a selection materialized in the UI.
_JOBS_OF_DATASETS = {"__ASSET_JOB", *map(job_name, DATASETS.values())}


@dataclass(frozen=True)
class Kind:
    """A kind of trouble: its heading, what somebody can do about it, and what is so once it is over."""

    title: str
    to_do: str
    ended: str
    patience: dt.timedelta = dt.timedelta(0)  # what is over sooner nobody is told of


KINDS: Mapping[str, Kind] = {
    "warehouse": Kind(
        "Warehouse does not answer",
        "see that `alphaforge up`, or the server of CLICKHOUSE_URL, is running; nothing else could be looked at",
        "it answers again",
    ),
    "venues": Kind(
        "Venues that ban, refuse or do not answer",
        "a ban ends by itself and is waited for; a refusal lasts until the venue serves this address and country again",
        "it has answered since, or nobody was turned away lately",
    ),
    "failed_runs": Kind(
        "Failed runs",
        "read the run; `alphaforge backfill` of the same range does what is left",
        "a later run succeeded, or it is long ago",
    ),
    "stale_assets": Kind(
        "Assets that no run has brought up to date",
        "see in the UI that the daemon, its schedules and sensors are on",
        "a run has brought it up to date",
        CATCH_UP,
    ),
    "stale_instruments": Kind(
        "Instruments that are late",
        "`alphaforge status` has the ages; if one alone is late, see whether it trades",
        "its rows are there again, or it is no longer kept",
        CATCH_UP,
    ),
    "gaps": Kind(
        "Gaps that nothing explains",
        "`alphaforge gaps` has the evidence, and how often healing has asked again",
        "filled, or explained by now",
    ),
    "revised_files": Kind(
        "Files of an archive that the venue has replaced",
        "`alphaforge diff NAME` says what is other than in the snapshots named; they themselves stay as they were",
        "told for a week; the files stay replaced",
    ),
    "low_scores": Kind(
        "Days of low quality",
        "`alphaforge coverage` has the scores, the asset coverage their parts",
        "its score has risen, or the day is long ago",
    ),
}
OF_THE_WAREHOUSE = frozenset({"venues", "stale_instruments", "gaps", "low_scores", "revised_files"})


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong. `subject` names it among those of its kind for as long as it lasts."""

    kind: str
    subject: str
    since: dt.datetime
    about: str
    link: str = ""  # path in the UI

    @property
    def key(self) -> str:
        return f"{self.kind}|{self.subject}"


@dataclass(frozen=True)
class Look:
    """What is wrong at `at`. Of the kinds in `unseen` nothing is known, because what would tell does not answer."""

    at: dt.datetime
    troubles: tuple[Trouble, ...]
    unseen: frozenset[str] = frozenset()


def look(instance: dg.DagsterInstance, settings: Settings, universe: Universe, now: dt.datetime) -> Look:
    """Everything that is wrong. A warehouse that does not answer is a trouble too, not an error."""
    found = [*_failed_runs(instance, now), *_stale_assets(instance)]
    try:
        with open_warehouse(settings.home, settings.clickhouse_url) as client:
            for read in (_unanswered, _stale_instruments, _gaps, _revised_files):
                found += read(client, universe, now)
            found += _low_scores(client, universe, now, settings.alert_score)
    except AlphaForgeError as error:
        found = [t for t in found if t.kind not in OF_THE_WAREHOUSE]
        found.append(Trouble("warehouse", "the warehouse", now, _short(f"{type(error).__name__}: {error}")))
        return Look(now, tuple(found), OF_THE_WAREHOUSE)
    return Look(now, tuple(found + _bans(settings, now)))


def _failed_runs(instance: dg.DagsterInstance, now: dt.datetime) -> list[Trouble]:
    """Work whose last run failed, or one within QUIET. Runs that Dagster will start again itself are left out."""
    failures = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - RECENT)
    failed = _ended(instance, [failures])
    jobs = {name for runs in failed.values() for _, _, name in runs} | _JOBS_OF_DATASETS if failed else set()
    # By job, because those that run every few minutes would fill any page.
    well = [
        dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=now - RECENT) for job in jobs
    ]
    succeeded = _ended(instance, well)
    found = []
    for work, runs in failed.items():
        last, run_id, _ = max(runs)
        well_at = max((moment for moment, _, _ in succeeded.get(work, [])), default=now - RECENT)
        if well_at > last and now - last > QUIET:
            continue
        since = [moment for moment, _, _ in runs if moment > min(well_at, now - QUIET)]
        how_many = f"{len(since)} runs, the last" if len(since) > 1 else "1 run"
        found.append(
            Trouble("failed_runs", work, min(since), f"{how_many}: {_reason(instance, run_id)}", f"/runs/{run_id}")
        )
    return found


def _ended(
    instance: dg.DagsterInstance, wanted: Iterable[dg.RunsFilter]
) -> dict[str, list[tuple[dt.datetime, str, str]]]:
    """When runs ended, their ids and jobs, by what they work on."""
    by_work: dict[str, list[tuple[dt.datetime, str, str]]] = defaultdict(list)
    for record in (record for runs in wanted for record in instance.get_run_records(runs, limit=RUNS_MAX)):
        run = record.dagster_run
        if run.tags.get(_WILL_RETRY_TAG) != "true":
            ended = record.end_time or record.update_timestamp.timestamp()
            by_work[_work(run)].append((dt.datetime.fromtimestamp(ended, dt.UTC), run.run_id, run.job_name))
    return by_work


def _work(run: dg.DagsterRun) -> str:
    """The dataset a run is of, however it was started; else its job."""
    selected = assets_of(run)
    for dataset in DATASETS.values():
        if selected and set(selected) <= set(dataset.run_assets):
            return dataset.name
    return ", ".join(selected) or run.job_name


def _reason(instance: dg.DagsterInstance, run_id: str) -> str:
    """The failed step's words, or the run's own if it did not come as far as a step."""
    for kind in (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE):
        for record in instance.get_records_for_run(run_id, of_type=kind, limit=1).records:
            event = record.event_log_entry.dagster_event
            data = event.event_specific_data if event else None
            told = getattr(getattr(data, "user_failure_data", None), "description", None)
            error = getattr(data, "error", None)
            cause = getattr(error, "cause", None) or error
            if words := told or getattr(cause, "message", None) or (event.message if event else None):
                return _short(words)
    return "see its log"


def _stale_assets(instance: dg.DagsterInstance) -> list[Trouble]:
    records = instance.get_freshness_state_records([dg.AssetKey(name) for name in sorted(freshness.policies())])
    return [
        Trouble(
            "stale_assets", key.to_user_string(), record.updated_at,
            "not materialized for longer than its freshness policy allows", f"/assets/{key.to_user_string()}",
        )
        for key, record in records.items()
        if record.freshness_state.value == "FAIL"
    ]  # fmt: skip


def _unanswered(client: Client, universe: Universe, now: dt.datetime) -> list[Trouble]:
    """Datasets of a venue of which it has answered nothing since it first failed."""
    rows = statements.rows(client, "reads/venues_unanswered", now=now, recent_s=int(RECENT.total_seconds()))
    return [
        Trouble("venues", f"{r['venue']} {r['dataset']}", r["since"], f"{r['windows']} windows: {_short(r['error'])}")
        for r in rows
    ]


def _bans(settings: Settings, now: dt.datetime) -> list[Trouble]:
    """Budgets that a venue wants us to keep away from."""
    address = settings.venues_url or "live"
    return [
        Trouble("venues", f"{name} budget", now, f"kept away from until {until:%H:%M} UTC: {_short(reason)}")
        for name, until, reason in held(settings.governor_file, address)
        if until > now + BAN
    ]


def _stale_instruments(client: Client, universe: Universe, now: dt.datetime) -> list[Trouble]:
    found = []
    for dataset in DATASETS.values():
        rows: dict[str, list[tuple[dt.datetime, str]]] = defaultdict(list)
        for r in freshness.stale(client, dataset, dataset.instruments(universe), now):
            subject = f"{dataset.name} {_key(r['venue'], r['symbol'])}"
            rows[subject].append((r["first"], f"{r.get('interval', '')} {r['what']}".strip()))
        for subject, its in rows.items():
            found.append(Trouble("stale_instruments", subject, min(its)[0], "; ".join(words for _, words in its)))
    return found


def _gaps(client: Client, universe: Universe, now: dt.datetime) -> list[Trouble]:
    rows = statements.rows(
        client,
        "reads/unexplained_gaps",
        instruments=_instruments(universe),
        attempts=ATTEMPTS_BEFORE_ALERT,
        unexplained=list(UNEXPLAINED),
    )
    return [
        Trouble(
            "gaps", f"{r['dataset']} {_key(r['venue'], r['symbol'])}", r["since"],
            f"{r['missing']:,} missing in {r['gaps']:,} gaps from {r['first']:%Y-%m-%d %H:%M} on ({r['verdicts']})",
            "/assets/gaps",
        )
        for r in rows
    ]  # fmt: skip


def _revised_files(client: Client, universe: Universe, now: dt.datetime) -> list[Trouble]:
    """Bars that became others because a file did, with the snapshots that hold the earlier ones."""
    rows = statements.rows(client, "archives/revised", since=now - RECENT)
    held_by = snapshots.listed(client) if rows else []
    found = []
    for r in rows:
        key, dataset = _key(r["venue"], r["symbol"]), "bars" if price_of(r["interval"]) == "trade" else "price_bars"
        names = [
            s.name
            for s in held_by
            if dataset in s.datasets and key in s.instruments and length_of(r["interval"]) in s.intervals
            and s.pinned_at < r["published_at"]
            and s.start <= r["last"] and s.end > r["first"]
        ]  # fmt: skip
        told = f"{r['changed']:,} bars from {r['first']:%Y-%m-%d %H:%M} to {r['last']:%Y-%m-%d %H:%M} are other ones"
        told += f"; earlier ones are in {', '.join(names)}" if names else "; in no snapshot"
        subject = f"bars {key} {r['interval']} {r['key'].rpartition('/')[2]}"
        found.append(Trouble("revised_files", subject, r["since"], told, "/assets/archive_files"))
    return found


def _low_scores(client: Client, universe: Universe, now: dt.datetime, threshold: float) -> list[Trouble]:
    rows = statements.rows(
        client, "reads/low_scores", instruments=_instruments(universe), since=now - SCORED, threshold=threshold
    )
    return [
        Trouble(
            "low_scores", f"{r['dataset']} {_key(r['venue'], r['symbol'])} {r['interval']}", r["since"],
            f"{r['days']} days below {threshold:g}, the worst {r['worst']:.1f} on {r['worst_day']:%Y-%m-%d}",
            "/assets/coverage",
        )
        for r in rows
    ]  # fmt: skip


def _instruments(universe: Universe) -> list[int]:
    return [i.instrument_id for i in (*universe.instruments, FEAR_GREED)]


def _key(venue: str, symbol: str) -> str:
    return f"{venue}.{symbol.replace('/', '-')}"


def _short(words: str) -> str:
    one_line = " ".join(words.split())
    return one_line if len(one_line) <= WORDS_MAX else f"{one_line[:WORDS_MAX]}…"
