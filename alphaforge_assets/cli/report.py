"""`alphaforge report`: read, render, write, and say in a sentence what is in it and where it is."""

import datetime as dt

import click

from alphaforge_assets.cli import arguments
from alphaforge_assets.cli.opened import warehouse
from alphaforge_assets.cli.screen import say
from alphaforge_assets.errors import BadInput


@click.command()
@click.option("--day", metavar="DATE", callback=arguments.day,
              help="One UTC day, as 2025-05-01, with the 29 days before it shown. [yesterday]")  # fmt: skip
@arguments.span(arguments.day, "First day of a period.", "Day after the last of the period.", required=False)
@click.option("--out", metavar="PLACE", help="A directory or s3://bucket/prefix. [ALPHAFORGE_REPORTS]")
def report(day: dt.date | None, start: dt.date | None, end: dt.date | None, out: str | None) -> None:
    """Write a quality report: one HTML page for a browser, a printer or a client, and the same as JSON and CSV.

    \b
    The page needs nothing but itself. An index.html beside it lists all reports.
    Credentials and endpoint of S3 are AWS's own variables (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL).

    \b
      alphaforge report
      alphaforge report --from 2025-05-01 --to 2025-06-01 --out s3://reports/alphaforge
    """
    first, after = _period(day, start, end)

    from alphaforge_assets.report.reading import read
    from alphaforge_assets.report.words import headline
    from alphaforge_assets.report.writing import publish, target
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.upkeep.runs import code_hash, code_version

    settings = settings_from_environment()
    place = target(out or settings.reports, settings.s3_endpoint, "--out" if out else "ALPHAFORGE_REPORTS")
    with warehouse(settings) as client:
        found = read(client, first, after)
    where = publish(place, found, code_version(), code_hash())
    say(headline(found), markup=False)
    say(where, soft_wrap=True, markup=False)


def _period(day: dt.date | None, start: dt.date | None, end: dt.date | None) -> tuple[dt.date, dt.date]:
    """[first day, day after the last). Raises BadInput for a question that cannot be."""
    today = dt.datetime.now(dt.UTC).date()
    if day and (start or end):
        raise BadInput("--day and --from/--to exclude each other: --day is one day, --from and --to are a period")
    if bool(start) != bool(end):
        raise BadInput("--from and --to belong together: --to is the day after the last one")
    first = start or day or today - dt.timedelta(days=1)
    after = end or first + dt.timedelta(days=1)
    if after <= first:
        raise BadInput(f"--to {after} is not after --from {first}: --to is the day after the last one wanted")
    if first > today:
        raise BadInput(f"{'--from' if start else '--day'} {first}: that day has not begun; today is {today} UTC")
    if after > today + dt.timedelta(days=1):
        raise BadInput(f"--to {after}: later than tomorrow, {today + dt.timedelta(days=1)} UTC")
    return first, after
