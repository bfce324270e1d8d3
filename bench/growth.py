"""(g) Growth: what a row costs as a backfill gets longer and wider, what a read costs as the table gets larger."""

import datetime as dt
from collections.abc import Iterator
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
    """The same reads of a table of so many rows, instruments of a year each, made straight into it."""
    samples = []
    for size in sizes.rows:
        rows_each = min(size, sizes.spans["year"] * 1440)
        ground = Ground(folder / f"rows-{size}", [f"X{n:03}/USDT" for n in range(max(1, round(size / rows_each)))])
        first = ground.universe.instruments[0]
        with ground.warehouse() as client:
            ground.make_rows(client, rows_each)
            research = Research(client, ground.universe)
            one = {"id": first.instrument_id}
            work = {
                "day of one instrument": lambda: research.bars(first.key, "1m", START, START + dt.timedelta(days=1)),  # noqa: B023
                "latest bar of one": lambda: client.query(LATEST_OF_ONE, parameters=one),  # noqa: B023
                "latest bar of all": lambda: client.query(LATEST),
            }
            in_turns(1, work)
            samples.append(in_turns(sizes.rounds * 3, work))
    small, large = samples
    few, many = (f"{size:,} rows" for size in sizes.rows)
    for what in small:
        yield Row(f"{what}, {many}", "ms", scaled(large[what], 1000), few, scaled(small[what], 1000))
