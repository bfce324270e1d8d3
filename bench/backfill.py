"""(a) A year of minutes from a venue to what researchers read: the whole command and its body, floors and peers.

The sandbox is on the same machine and works as hard as we do, so that no figure is better than it would be elsewhere.
"""

import datetime as dt
import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.sandbox import process as sandbox
from bench import peers
from bench.ground import CEILING, LIFTED, START, SYMBOLS, VENUE, Ground
from bench.measure import NO_PEERS, Row, Sizes, in_turns, timed

FLOOR = "analytics.bench_floor"
_numbers = itertools.count()


Contenders = dict[str, Callable[[str], object]]  # each is told where the venue is


def rows(sizes: Sizes, folder: Path) -> Iterator[Row]:
    yield from at_the_limit(sizes, folder)
    single, wide = SYMBOLS[:1], SYMBOLS[: sizes.instruments]
    alone = beyond_the_limit(sizes, folder, single, sizes.rounds)
    what = f"{bars(sizes.days, single)}, limits lifted"
    yield from of_speed(what, alone, "")
    yield from against_peers(f"{what}: command", alone, "limit off")
    together = alone if wide == single else beyond_the_limit(sizes, folder, wide, 1)
    yield from of_speed(f"{bars(sizes.days, wide)}, limits lifted", together, "one round")


def at_the_limit(sizes: Sizes, folder: Path) -> Iterator[Row]:
    """With the venue's limits on both sides, as live."""
    single, wide = SYMBOLS[:1], SYMBOLS[: sizes.instruments]
    contenders: Contenders = {
        "command": lambda url: ground(folder, single).backfill(url, sizes.days),
        "fetch": lambda url: ground(folder, single).fetched(url, sizes.days, 1.0),
        **those_there(sizes, folder, limited=True),
    }
    samples = with_sandboxes(sizes.rounds, contenders)
    what, grant = f"{bars(sizes.days, single)}, venue's limits: command", sizes.days * 1440 / CEILING
    yield Row(what, "s", samples["command"], "fetch and parse, same limits", samples["fetch"])
    yield Row(what, "s", samples["command"], f"what the venue grants, {CEILING:,.0f} rows/s", [grant], "computed")
    yield from against_peers(what, samples, "limit on")
    if wide != single:
        samples = with_sandboxes(1, {"command": lambda url: ground(folder, wide).backfill(url, sizes.days)})
    what, grant = f"{bars(sizes.days, wide)}, venue's limits: command", grant * len(wide)
    yield Row(what, "s", samples["command"], "what the venue grants", [grant], "computed; one round")


def beyond_the_limit(sizes: Sizes, folder: Path, symbols: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Seconds with limits lifted on both sides, so that our own speed shows; peers have one only."""
    spare = ground(folder, symbols)
    with spare.warehouse() as client, sandbox.start(budget_scale=LIFTED) as url:
        tables = spare.fetched(url, sizes.days, LIFTED)
        assert sum(table.num_rows for table in tables) == sizes.days * 1440 * len(symbols)
        client.command(f"CREATE TABLE {FLOOR} AS analytics.landing_bars")
        contenders: Contenders = {
            "fetch": lambda url: ground(folder, symbols).fetched(url, sizes.days, LIFTED),
            "insert": lambda url: insert_alone(client, tables),
            "command": lambda url: ground(folder, symbols).backfill(url, sizes.days, lifted=True),
        }
        if len(symbols) == 1:
            contenders |= those_there(sizes, folder, limited=False)
        samples = in_turns(rounds, {name: partial(work, url) for name, work in contenders.items()})
        for _ in range(rounds):  # its warehouse is up before the clock runs
            its, apart = ground(folder, symbols), ground(folder, symbols)
            with its.warehouse() as its_client:
                seconds = {"body": timed(partial(its.body, its_client, url, sizes.days))}
            with apart.warehouse() as its_client:
                seconds |= apart.parts(its_client, url, sizes.days)
            for name, its_seconds in seconds.items():
                samples.setdefault(name, []).append(its_seconds)
    return samples


def of_speed(what: str, samples: dict[str, list[float]], note: str) -> Iterator[Row]:
    """The body against each floor, the command against the body."""
    yield Row(f"{what}: body", "s", samples["body"], "fetch and parse", samples["fetch"], note)
    yield Row(f"{what}: body", "s", samples["body"], "insert once", samples["insert"], note)
    for part in ("land", "stage", "publish", "judge"):
        yield Row(f"{what}: {part} alone", "s", samples[part], "the body", samples["body"], note)
    yield Row(f"{what}: command", "s", samples["command"], "its body", samples["body"], note)


def against_peers(what: str, samples: dict[str, list[float]], how: str) -> Iterator[Row]:
    theirs = samples.get("freqtrade", [])
    yield Row(what, "s", samples["command"], f"freqtrade, {how}", theirs, "" if theirs else NO_PEERS)
    yield Row(what, "s", samples["command"], f"ccxt loop to Parquet, {how}", samples["ccxt"])


def those_there(sizes: Sizes, folder: Path, *, limited: bool) -> Contenders:
    """The peers that are installed."""

    def by(fetch: Callable[..., Path]) -> Callable[[str], object]:
        return lambda url: fetch(url, START, sizes.days, folder, limited=limited)

    loop: Contenders = {"ccxt": by(peers.ccxt_loop)}
    is_there = peers.FREQTRADE.exists() and sizes.name != "smoke"
    return loop | {"freqtrade": by(peers.freqtrade)} if is_there else loop


def with_sandboxes(rounds: int, contenders: Contenders) -> dict[str, list[float]]:
    """Seconds of each, in turns. Each has a new sandbox, so that nobody pays for the weight that others used."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            with sandbox.start() as url:
                samples[name].append(timed(lambda: work(url)))  # noqa: B023 - called at once
    return samples


def insert_alone(client: Client, tables: Sequence[pa.Table]) -> None:
    """The floor of inserting: the same rows once, a month an insert, into a table like landing_bars."""
    client.command(f"TRUNCATE TABLE {FLOOR}")
    now = pa.scalar(dt.datetime.now(dt.UTC), pa.timestamp("ms", "UTC"))
    for table, symbol in zip(tables, SYMBOLS, strict=False):
        constant = {"venue": VENUE, "symbol": symbol, "interval": "1m", "source": "rest", "batch_id": str(uuid.uuid4())}
        for name, value in constant.items():
            places = pa.repeat(pa.scalar(0, pa.int32()), table.num_rows)
            table = table.append_column(name, pa.DictionaryArray.from_arrays(places, [value]))
        table = table.append_column("ingested_at", pa.repeat(now, table.num_rows))
        step = table.num_rows // 12 + 1
        for start in range(0, table.num_rows, step):
            client.insert_arrow(FLOOR, table.slice(start, step))


def ground(folder: Path, symbols: Sequence[str]) -> Ground:
    """A home where nobody was before."""
    return Ground(folder / f"home-{next(_numbers)}", symbols)


def bars(days: int, symbols: Sequence[str]) -> str:
    of = "" if len(symbols) == 1 else f" of each of {len(symbols)}"
    return f"{days * 1440:,} bars{of}"
