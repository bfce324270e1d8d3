"""What is valid: landing rows -> the current truth of each key, and the rows that break a rule -> rejected_rows.

One INSERT ... SELECT for as much of the run's rectangle as a million rows fill, all its instruments at once. Running it
again adds nothing.
"""

from collections.abc import Mapping, Sequence

from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.failpoints import passing
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.slices import slices
from alphaforge_assets.warehouse import statements


def stage(
    client: Client,
    covered: Rectangle,
    dataset: Dataset,
    intervals: Sequence[str],
    comment: Mapping[str, str] | None = None,
) -> None:
    """Bring staging and rejected_rows up to date with landing. Raises WarehouseDown, WarehouseRefused."""
    for start, end in slices(client, covered, dataset, intervals):
        bounds = {"instruments": covered.instrument_ids, "start": start, "end": end}
        passing("staging.before")
        statements.execute(client, dataset.stages, comment, **bounds, **dataset.tables)
        passing("staging.between")
        statements.execute(client, "staging/rejected", comment, **bounds, **dataset.tables)
        passing("staging.after")
