"""The table of faults: what is done to us, what we promise, and who proves it; and the page that it becomes.

A row is proved here, by a function of rows.py, or by tests that stand elsewhere and are run by their ids. `known` is
why a row is red today: it must be, until it is mended and the reason goes.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from alphaforge_assets_tests.test_faults import limits, rows
from alphaforge_assets_tests.test_faults.world import World


@dataclass(frozen=True)
class Row:
    """One fault. `promise` is read as: after it, …"""

    name: str
    promise: str
    done: Callable[[World], str] | None = None
    tests: tuple[str, ...] = ()
    is_quick: bool = False
    known: str = ""

    @property
    def id(self) -> str:
        return self.name.replace(" ", "-")


@dataclass
class Result:
    """What came of a row."""

    happened: str
    seconds: float


@dataclass
class Results:
    """Of this process."""

    by_name: dict[str, Result] = field(default_factory=dict)


RESULTS = Results()
ONCE = "every bar equal, none twice, the ledger sound"
SAME_RUN = "the same run gets over it"
LEFT_ALONE = "that venue is left alone by all, the others whole"
NO_DATA = "nothing of it becomes data"
QUICK_KILLS = ("landing.after", "publish.between")

PROCESSES = [
    *(Row(f"kill -9 at {p}", ONCE, partial(rows.killed_at, point=p), is_quick=p in QUICK_KILLS) for p in rows.KILLS),
    *(Row(f"failure at {p}", ONCE, partial(rows.failing_at, point=p)) for p in ("ledger.after", "publish.between")),
    Row("kill -9 at every point in a row", ONCE, rows.killed_again_and_again),
    Row(
        "kill -9 of a backfill five times",
        ONCE,
        tests=("test_crash.py::test_killed_five_times_the_bars_are_those_of_an_undisturbed_run",),
    ),
    *(
        Row(f"zombie asleep at {p}", ONCE, partial(rows.zombie_at, point=p))
        for p in ("landing.before", "ledger.after", "publish.between")
    ),
    Row("SIGSTOP of a writer", ONCE, rows.stopped),
    Row("two runs of one partition", ONCE, rows.two_at_once, is_quick=True),
    Row("two tails at once", ONCE, rows.two_tails),
    Row(
        "a tail and a backfill at once",
        ONCE,
        tests=("test_live.py::test_a_tail_and_a_backfill_at_once_leave_every_version_once",),
    ),
    Row(
        "kill -9 of the warehouse",
        "no acknowledged row is lost",
        tests=(
            "test_embedded_process.py::test_no_acknowledged_row_is_lost_by_kill_9",
            "test_client.py::test_a_server_killed_is_replaced",
        ),
    ),
    Row(
        "a client dies in mid upload",
        "nothing of it is stored",
        tests=("test_embedded_process.py::test_a_client_that_dies_in_mid_upload_leaves_nothing",),
    ),
    Row(
        "reboot",
        "nothing stays, the next up works",
        tests=("test_up.py::test_after_kill_9_nothing_stays_and_the_next_up_works",),
    ),
    Row(
        "daemon or code location dies",
        "it is started again, the others go on",
        tests=("test_up.py::test_a_part_that_dies_is_started_again_and_the_others_go_on",),
    ),
    Row("SIGTERM", "everything ends in order", tests=("test_up.py::test_a_signal_ends_everything_in_order",)),
    Row(
        "two migrators at once",
        "each migration is applied by one",
        tests=("test_migrations_processes.py::test_of_two_at_once_each_migration_is_applied_by_one",),
    ),
    Row(
        "out of memory",
        "the query fails, the server lives",
        tests=("test_embedded_process.py::test_memory_is_bounded",),
    ),
    *(
        Row(f"kill -9 of a pin at {p}", "no half a snapshot", partial(rows.pin_killed_at, point=p))
        for p in ("pin.begun", "pin.hashed", "pin.finished")
    ),
    *(
        Row(f"kill -9 of a backup at {p}", "no half a backup", partial(rows.backup_killed_at, point=p, what="kill"))
        for p in ("backup.file", "backup.manifest")
    ),
]
WIRE = [
    Row(
        "429 with Retry-After",
        "everyone waits",
        tests=(
            "test_transport.py::test_a_limit_is_obeyed_by_everyone_and_survives",
            "test_transport.py::test_a_short_limit_is_waited_out",
        ),
    ),
    Row(
        "418 ban",
        LEFT_ALONE,
        partial(limits.held_off, status=418),
        is_quick=True,
    ),
    Row(
        "429 with a quarter of an hour",
        LEFT_ALONE,
        partial(limits.held_off, status=429),
    ),
    Row(
        "a hold and a restart",
        "the venue is held, also by later processes",
        tests=("test_governor.py::test_a_hold_binds_other_processes_and_later_ones",),
    ),
    Row("two backfills and the tail at real limits", "no 429, 80 % of the allowance used", limits.all_at_once),
    Row("burst of 503", SAME_RUN, partial(rows.spoilt, kind="status", status=503, times=2)),
    Row("403 of a firewall", "a failure named, no storm, others whole", partial(rows.refused, status=403)),
    Row("451 geo-block", "a failure named, no storm, others whole", partial(rows.refused, status=451)),
    Row("connection reset", SAME_RUN, partial(rows.spoilt, kind="reset")),
    Row("body cut short", SAME_RUN, partial(rows.spoilt, kind="truncate"), is_quick=True),
    Row("bytes for JSON", SAME_RUN, partial(rows.spoilt, kind="garbage")),
    Row("HTML for JSON", SAME_RUN, partial(rows.spoilt, kind="html")),
    Row("empty body", SAME_RUN, partial(rows.spoilt, kind="blank"), is_quick=True),
    Row(
        "NaN, null or zero for a price",
        "set apart with the rule",
        tests=("test_answers.py::test_rows_that_break_a_rule_are_the_verdict",),
    ),
    Row("gzip bomb", "it is not unpacked", tests=("test_transport.py::test_a_bomb_is_not_unpacked",)),
    Row("redirect", "it is not followed", tests=("test_transport.py::test_redirects_are_named_and_not_followed",)),
    Row(
        "closed port, bad certificate",
        "told apart",
        tests=(
            "test_transport.py::test_a_closed_port_is_transient",
            "test_transport.py::test_a_certificate_nobody_signed_is_refused",
        ),
    ),
    Row(
        "error object with HTTP 200",
        "what the venue means",
        tests=("test_transport.py::test_errors_inside_of_answers",),
    ),
]
PAGES = [
    Row("empty page in the middle", SAME_RUN, rows.silent_middle, is_quick=True),
    Row("page cut to 7 rows", SAME_RUN, rows.cut_to_seven, is_quick=True),
    Row("bars left out of a page", SAME_RUN, partial(rows.spoilt, kind="holes", rows=3, start=100)),
    Row("rows in another order", SAME_RUN, partial(rows.spoilt, kind="turned")),
    Row(
        "a bar told twice",
        "both kept, told, asked for again",
        tests=("test_answers.py::test_a_bar_told_twice_is_kept_twice_reported_and_asked_for_again",),
    ),
    Row(
        "cursor off by one",
        "nothing lost, nothing twice",
        tests=("test_venues_bars.py::test_nothing_is_lost_and_nothing_comes_twice",),
    ),
    Row("the open bar", "it is left out until it closes", rows.open_bar),
    Row("a bar revised", "a new version, snapshots as they were", rows.revised, is_quick=True),
    Row("history changes under paging", "a refetch brings the later versions", rows.changing_under_paging),
    Row("another interval's bars", NO_DATA, partial(rows.spoilt, kind="interval", every=5)),
    Row("a later page's bars", NO_DATA, rows.later_page),
    Row("times in microseconds", NO_DATA, partial(rows.told_lies, kind="unit", value=1000.0)),
    Row("times in seconds", NO_DATA, partial(rows.told_lies, kind="unit", value=0.001)),
    Row("bars of the future", NO_DATA, partial(rows.told_lies, kind="moved", value=60.0 * 24 * 365)),
    Row("another symbol's prices", "two venues tell", rows.others_prices),
    Row("venue outage", "a gap of exactly that, explained", rows.outage, is_quick=True),
    Row("venue outage made up for", "the gap closes", rows.outage_made_up_for),
    Row("venue clock set back", ONCE, rows.clock_set_back),
    Row(
        "our clock set back",
        "snapshots hold",
        tests=("test_snapshots.py::test_publications_after_a_pin_are_later_though_the_clock_was_set_back",),
    ),
    Row(
        "funding interval changes",
        "no false gap",
        tests=("test_venues_funding.py::test_every_settlement_of_a_span_whatever_happens_on_the_way",),
    ),
    Row(
        "symbol no longer listed",
        "history stays",
        tests=("test_instruments.py::test_what_is_no_longer_listed_stays_and_may_come_back",),
    ),
    Row(
        "an instrument twice in a listing",
        "the one that trades",
        tests=("test_instruments.py::test_two_listings_of_one_symbol_are_the_one_that_trades",),
    ),
    Row(
        "a listing cut short",
        "it delists nothing",
        tests=("test_instruments.py::test_a_list_cut_short_delists_nothing",),
    ),
    Row(
        "fields too many or too few",
        "nothing lost",
        tests=("test_venues_columns.py::test_fields_too_many_or_too_few_lose_nothing",),
    ),
    Row(
        "a field that is no number",
        "NULL, and kept raw",
        tests=("test_venues_columns.py::test_what_is_no_number_is_null_and_kept_raw",),
    ),
]
UNIVERSE = [
    Row("universe and order changed while a run is queued", ONCE, rows.universe_changed),
    Row("instrument removed and added again", ONCE, rows.removed_and_added_again),
    Row("history_start moved on and back", ONCE, rows.start_moved),
    Row(
        "a range after the universe changed",
        "it means what it meant",
        tests=("test_partitions.py::test_a_range_means_what_it_meant_whatever_the_universe_became",),
    ),
]
STORAGE = [
    Row(
        "disk full: warehouse",
        "acknowledged rows stay, it goes on after",
        tests=("test_embedded_process.py::test_a_full_disk",),
    ),
    Row("disk full: backup", "no partial file", rows.disk_full),
    Row(
        "event log that cannot be written to",
        "the doctor says so",
        tests=("test_health.py::test_an_event_log_that_cannot_be_written_to_is_found",),
    ),
    Row(
        "warehouse opened twice",
        "the second is told of the first",
        tests=("test_embedded_process.py::test_a_second_owner_is_told_of_the_first",),
    ),
    Row(
        "a flipped byte in a backup",
        "found, and not taken for whole",
        tests=("test_backup.py::test_a_flipped_byte_is_found_and_the_home_is_not_taken_for_whole",),
    ),
    Row(
        "rows of many months in one insert",
        "a month an insert",
        tests=("test_batches.py::test_an_insert_stays_within_a_month_and_a_million_rows",),
    ),
]
TABLE = [*PROCESSES, *WIRE, *PAGES, *UNIVERSE, *STORAGE]
PARTS = {
    "Processes": PROCESSES,
    "The wire": WIRE,
    "What a page says": PAGES,
    "The universe": UNIVERSE,
    "Storage": STORAGE,
}


def written() -> str:
    """The page of what this process has seen."""
    lines = [
        "# Faults on demand",
        "",
        f"Written by `make faults` on {dt.datetime.now(dt.UTC):%Y-%m-%d} (one run, on two shared cores); the table is"
        " in [table.py](../alphaforge_assets_tests/test_faults/table.py).",
        "After each row that is done there the warehouse is compared with the emulator's own generator: every bar",
        "equal, none twice, gaps exactly what the venue left out, a ledger that landing bears out, and a rerun that",
        "asks and publishes nothing. Other rows are tests that stand elsewhere, run by their ids.",
    ]
    for title, its in PARTS.items():
        lines += ["", f"## {title}", "", "| fault | promise | what happened | s |", "|---|---|---|---|"]
        for row in its:
            seen = RESULTS.by_name.get(row.name, Result("not run", 0.0))
            lines.append(f"| {row.name} | {row.promise} | {seen.happened} | {seen.seconds:.1f} |")
    return "\n".join(lines) + "\n"
