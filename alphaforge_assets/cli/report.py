"""`alphaforge report`: arguments of the command; the work begins in `write`."""

import datetime as dt

import click

from alphaforge_assets.errors import BadInput


@click.command()
@click.option("--day", metavar="DATE", help="One UTC day, as 2025-05-01, with the 29 days before it shown. [yesterday]")
@click.option("--from", "start", metavar="DATE", help="First day of a period.")
@click.option("--to", "end", metavar="DATE", help="Day after the last of the period.")
@click.option("--out", metavar="PLACE", help="A directory or s3://bucket/prefix. [ALPHAFORGE_REPORTS]")
def report(day: str | None, start: str | None, end: str | None, out: str | None) -> None:
    """Write a quality report: one HTML page for a browser, a printer or a client, and the same as JSON and CSV.

    \b
    The page needs nothing but itself. An index.html beside it lists all reports.
    Credentials and endpoint of S3 are AWS's own variables (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL).

    \b
      alphaforge report
      alphaforge report --from 2025-05-01 --to 2025-06-01 --out s3://reports/alphaforge
    """
    first, after = _period(day, start, end)
    from alphaforge_assets.cli.reported import write

    write(first, after, out)


def _period(day: str | None, start: str | None, end: str | None) -> tuple[dt.date, dt.date]:
    """[first day, day after the last). Raises BadInput for a question that cannot be."""
    today = dt.datetime.now(dt.UTC).date()
    if day and (start or end):
        raise BadInput("--day and --from/--to exclude each other: --day is one day, --from and --to are a period")
    if bool(start) != bool(end):
        raise BadInput("--from and --to belong together: --to is the day after the last one")
    first = _date("--from", start) if start else _date("--day", day) if day else today - dt.timedelta(days=1)
    after = _date("--to", end) if end else first + dt.timedelta(days=1)
    if after <= first:
        raise BadInput(f"--to {after} is not after --from {first}: --to is the day after the last one wanted")
    if first > today:
        raise BadInput(f"{'--from' if start else '--day'} {first}: that day has not begun; today is {today} UTC")
    if after > today + dt.timedelta(days=1):
        raise BadInput(f"--to {after}: later than tomorrow, {today + dt.timedelta(days=1)} UTC")
    return first, after


def _date(option: str, text: str) -> dt.date:
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError as error:
        raise BadInput(f"{option} {text!r}: write a day as 2025-05-01") from error
