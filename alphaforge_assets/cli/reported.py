"""What `alphaforge report` does: read, render, write, and say in a sentence what is in it and where it is."""

import datetime as dt

from alphaforge_assets.cli.screen import screen
from alphaforge_assets.report import words
from alphaforge_assets.report.reading import read
from alphaforge_assets.report.writing import publish, target
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.upkeep.runs import code_hash, code_version
from alphaforge_assets.warehouse import schema
from alphaforge_assets.warehouse.client import open_warehouse


def write(start: dt.date, end: dt.date, out: str | None) -> None:
    """Write the report on [start, end).

    Raises BadInput for a place that is none, before anything else is touched, Permanent, WarehouseDown.
    """
    settings = settings_from_environment()
    place = target(out or settings.reports, settings.s3_endpoint, "--out" if out else "ALPHAFORGE_REPORTS")
    with open_warehouse(settings.home, settings.clickhouse_url) as client:
        schema.ensure(client, settings.home, settings.clickhouse_url)
        report = read(client, start, end)
    where = publish(place, report, code_version(), code_hash())
    screen.print(words.headline(report), markup=False)
    screen.print(where, soft_wrap=True, markup=False)
