"""The chain as one call: land a rectangle of a dataset, stage it, publish it, judge it.

A run of the assets does the same, a step a link; the live tail and the tests call this.
"""

import datetime as dt
from collections.abc import Sequence
from contextlib import nullcontext

from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.choice import BEST
from alphaforge_assets.pipeline.landing import NO_END, Landed, Reached, land
from alphaforge_assets.pipeline.mart import Lock, publish
from alphaforge_assets.pipeline.served import EVER
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.universe import Universe
from alphaforge_assets.venues.directory import Exchanges


def refresh(
    client: Client,
    exchanges: Exchanges,
    universe: Universe,
    part: Rectangle,
    dataset: Dataset,
    *,
    run_id: str,
    refetch: bool = False,
    until: dt.datetime = NO_END,
    wish: str = BEST,
    since: dt.datetime = EVER,
    intervals: Sequence[str] | None = None,
    only_gaps: bool = False,
    reached: Reached | None = None,
    lock: Lock = lambda dataset: nullcontext(),
    is_judged: bool = True,
) -> Landed:
    """Bring everything of a rectangle up to date. What was landed is returned, failures included; the rest follows.

    `refetch` asks again for what was answered, `wish` is as of `land`, `only_gaps` for nothing but open gaps, `until`
    only for what closed before and `since` for what opened from then on, `intervals` for those alone (None: all of the
    dataset), `reached` is an open source, `lock` what is
    held while the dataset is published. Raises what `land` raises.
    """
    intervals = dataset.intervals(universe) if intervals is None else intervals
    comment = {"run_id": run_id, "refresh": dataset.name}
    landed = land(
        client,
        exchanges,
        part,
        dataset,
        intervals,
        run_id=run_id,
        refetch=refetch,
        until=until,
        wish=wish,
        since=since,
        only_gaps=only_gaps,
        reached=reached,
    )
    stage(client, part, dataset, intervals, comment)
    with lock(dataset):
        publish(client, part, dataset, intervals, comment)
    if is_judged:
        judge(client, part, dataset, universe, comment)
    return landed
