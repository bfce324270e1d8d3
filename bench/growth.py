"""(g) Growth: what a row costs as a backfill gets longer and wider, what a read costs as the table gets larger."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from alphaforge_assets.research import Research
from alphaforge_assets.sandbox import process as sandbox
from bench.ground import LIFTED, START, SYMBOLS, Ground
from bench.measure import Row, Sizes, in_turns, scaled, timed

LATEST = "SELECT instrument_id, max(timestamp) FROM analytics.v_bars WHERE interval = '1m' GROUP BY instrument_id"
LATEST_OF_ONE = """SELECT timestamp, close FROM analytics.v_bars
WHERE instrument_id = {id:UInt32} AND interval = '1m' ORDER BY timestamp DESC LIMIT 1"""


def rows(sizes: Sizes, folder: Path) -> Iterator[Row]:
    yield from of_writing(sizes, folder)
    yield from of_reading(sizes, folder)


def of_writing(sizes: Sizes, folder: Path) -> Iterator[Row]:
    """µs a row of the body, limits lifted, into a warehouse of its own: instruments × months."""
    costs: dict[int, list[float]] = {}
    floor: list[float] = []
    with sandbox.start(budget_scale=LIFTED) as url:
        for instruments, months in sizes.months:
            days = 30 * months if sizes.name != "smoke" else months
            size = days * 1440 * instruments
            costs[instruments * months] = []
            for n in range(sizes.rounds):
                ground = Ground(folder / f"{instruments}-{months}-{n}", SYMBOLS[:instruments])
                with ground.warehouse() as client:
                    seconds = timed(lambda: ground.body(client, url, days))  # noqa: B023 - called at once
                costs[instruments * months].append(seconds / size * 1e6)
                if instruments * months == 1:
                    floor.append(timed(lambda: ground.fetched(url, days, LIFTED)) / size * 1e6)  # noqa: B023
    single = costs.pop(1)
    yield Row("a row written, 1 instrument-month", "µs", single, "fetch and parse", floor)
    for size, cost in costs.items():
        yield Row(f"a row written, {size} instrument-months", "µs", cost, "1 instrument-month", single)


def of_reading(sizes: Sizes, folder: Path) -> Iterator[Row]:
    """The same reads of a table of so many rows, instruments of a year each, made straight into it; both in turns."""
    with ExitStack() as stack:
        works = [stack.enter_context(_reads_of(sizes, folder, size)) for size in sizes.rows]
        few, many = (f"{size:,} rows" for size in sizes.rows)
        for what in works[0]:
            contenders = {"small": works[0][what], "large": works[1][what]}
            in_turns(1, contenders)
            samples = in_turns(sizes.rounds * 3, contenders)
            yield Row(f"{what}, {many}", "ms", scaled(samples["large"], 1000), few, scaled(samples["small"], 1000))


@contextmanager
def _reads_of(sizes: Sizes, folder: Path, size: int) -> Iterator[dict[str, Callable[[], object]]]:
    """What is read of a warehouse with so many rows, once it has come to rest."""
    rows_each = min(size, sizes.spans["year"] * 1440)
    ground = Ground(folder / f"rows-{size}", [f"X{n:03}/USDT" for n in range(max(1, round(size / rows_each)))])
    first = ground.universe.instruments[0]
    with ground.warehouse() as client:
        ground.make_rows(client, rows_each)
        while client.command("SELECT count() FROM system.merges"):
            time.sleep(0.2)
        research = Research(client, ground.universe)
        yield {
            "day of one instrument": lambda: research.bars(first.key, "1m", START, START + dt.timedelta(days=1)),
            "latest bar of one": lambda: client.query(LATEST_OF_ONE, parameters={"id": first.instrument_id}),
            "latest bar of all": lambda: client.query(LATEST),
        }
