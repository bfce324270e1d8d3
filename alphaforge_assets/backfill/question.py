"""What a backfill is asked to do, checked before anything is touched and before Dagster loads, which takes a second."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.errors import BadInput
from alphaforge_assets.pipeline.choice import BEST, is_wished
from alphaforge_assets.settings import Settings, settings_from_environment
from alphaforge_assets.universe import Instrument, Universe, load_universe
from alphaforge_assets.venues.directory import ranked


@dataclass(frozen=True)
class Question:
    """Datasets × instruments × [start, end), in UTC days, and the settings and universe it is asked under."""

    settings: Settings
    universe: Universe
    datasets: tuple[Dataset, ...]
    instruments: tuple[Instrument, ...]
    start: dt.date
    end: dt.date
    wish: str = BEST  # the kind of sources to ask


def ask(names: Sequence[str], patterns: Sequence[str], start: dt.date, end: dt.date, wish: str = BEST) -> Question:
    """A question that makes sense under the environment. Raises BadInput naming what does not."""
    settings = settings_from_environment()
    universe = load_universe(settings.universe_file)
    instruments = universe.select(patterns)
    datasets = tuple(_dataset(name) for name in dict.fromkeys(names))
    for dataset in datasets:
        _check_instruments(dataset, instruments, patterns)
        _check_range(dataset, universe, start, end)
        _check_source(dataset, universe, instruments, wish)
    return Question(settings, universe, datasets, instruments, start, end, wish)


def _dataset(name: str) -> Dataset:
    if name not in DATASETS:
        raise BadInput(f"--datasets {name!r}: there is {', '.join(DATASETS)}")
    return DATASETS[name]


def _check_instruments(dataset: Dataset, instruments: Sequence[Instrument], patterns: Sequence[str]) -> None:
    if dataset.only:
        return
    if not patterns:
        raise BadInput(f"--instruments is missing: {dataset.name} needs keys or globs, such as 'binance_spot.*'")
    if not any(map(dataset.keeps, instruments)):
        what = f"[{', '.join(dataset.prices)}]" if dataset.prices else "true"
        mend = f"; write `{{symbol: …, {dataset.name}: {what}}}` in the universe for those that should"
        mend = mend if dataset.has else ""
        raise BadInput(f"--instruments {','.join(patterns)}: none of them has {dataset.name}{mend}")


def _check_source(dataset: Dataset, universe: Universe, instruments: Sequence[Instrument], wish: str) -> None:
    intervals = dataset.intervals(universe)
    venues = dict.fromkeys(i.venue for i in dataset.chosen(instruments))
    without = [v for v in venues if not any(is_wished(s, wish) for s in ranked(v, dataset.name, intervals))]
    if without:
        raise BadInput(f"--source {wish}: {', '.join(without)} has no {wish} of {dataset.name}; use --source best")


def _check_range(dataset: Dataset, universe: Universe, start: dt.date, end: dt.date) -> None:
    today = dt.datetime.now(dt.UTC).date()
    if end <= start:
        raise BadInput(f"--to {end} is not after --from {start}: --to is the day after the last one wanted")
    first = dataset.starts(universe)
    if start < first and dataset.only:
        raise BadInput(f"--from {start}: {dataset.name} begins on {first}; there is nothing before")
    if start < first:
        raise BadInput(
            f"--from {start}: history starts on {first}; change history_start in the universe to go further back"
        )
    if dataset.ended and start >= dataset.ended:
        raise BadInput(f"--from {start}: {dataset.name} end on {dataset.ended}; nobody has any after")
    if start > today:
        raise BadInput(f"--from {start}: that day has not begun; today is {today} UTC")
    if end > today + dt.timedelta(days=1):
        raise BadInput(f"--to {end}: later than tomorrow, {today + dt.timedelta(days=1)} UTC")
