"""The asset `quality_report`, a partition a day, and the schedule that makes it after each day has closed."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.catalog import OWNER
from alphaforge_assets.report import words
from alphaforge_assets.report.reading import Report, days_looked_at, read
from alphaforge_assets.report.rendering import HTML
from alphaforge_assets.report.writing import Directory, publish, target
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.upkeep.runs import code_hash, code_version

NAME = "quality_report"
# Below this path our UI serves the reports of a directory.
SERVED_AT = "/reports"
# Days settle within the hour after their close: coverage has a grace of one hour.
AT = "30 1 * * *"
# A machine that was down makes up for a week of reports; who wants older ones materializes them.
DAYS_MADE_UP = 7


def asset(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset: a page, JSON and CSV for each day of a run, below ALPHAFORGE_REPORTS."""

    @dg.asset(
        name=NAME,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=31),
        deps=["v_coverage", "v_gaps", "rejected_rows", "bars_history", "v_ingest_batches"],
        group_name="research",
        owners=[OWNER],
        kinds={"html"},
        tags={"layer": "research"},
        description="One self-contained HTML page a day for people outside: completeness, gaps with their verdicts, "
        "rejected and revised rows, freshness, requests. The same as JSON and CSV beside it.",
    )
    def quality_report(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Client]
    ) -> dg.MaterializeResult[None]:
        settings = settings_from_environment()
        place = target(settings.reports, settings.s3_endpoint)
        for key in context.partition_keys:
            day = dt.date.fromisoformat(key)
            report = read(warehouse, day, day + dt.timedelta(days=1))
            where = publish(place, report, code_version(), code_hash())
        return dg.MaterializeResult(metadata=_metadata(report, where, isinstance(place, Directory)))

    return quality_report


def schedule() -> dg.ScheduleDefinition:
    """Asks for the report of the day that closed, and for those of the week before that are missing."""

    @dg.schedule(
        name="daily_quality_report",
        cron_schedule=AT,
        execution_timezone="UTC",
        target=[NAME],
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The quality report of the day that closed, and those of the last week that were missed.",
    )
    def daily_quality_report(
        context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[Client]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        today = context.scheduled_execution_time.astimezone(dt.UTC).date()
        made = context.instance.get_materialized_partitions(dg.AssetKey(NAME))
        days = days_looked_at(warehouse, today - dt.timedelta(days=DAYS_MADE_UP), today)
        missing = [str(day) for day in days if str(day) not in made]
        for key in missing:
            yield dg.RunRequest(run_key=f"{key}:{today}", partition_key=key)
        if not missing:
            yield dg.SkipReason("every day of the last week that was looked at has its report")

    return daily_quality_report


def _metadata(report: Report, where: str, is_served: bool) -> dict[str, dg.MetadataValue]:
    """`report` opens in our UI where it serves the directory; `file` names the page itself."""
    metadata: dict[str, dg.MetadataValue] = {
        "headline": dg.MetadataValue.text(words.headline(report)),
        "standing": dg.MetadataValue.text(words.standing(report)[1]),
        "file": dg.MetadataValue.path(where.removeprefix("file://")),
    }
    if is_served:
        metadata["report"] = dg.MetadataValue.url(f"{SERVED_AT}/{report.name}/{HTML}")
        metadata["all_reports"] = dg.MetadataValue.url(f"{SERVED_AT}/")
    if report.totals["expected"]:
        metadata["score_mean"] = dg.MetadataValue.float(report.totals["score_mean"])
        for name in ("expected", "present", "missing", "explained"):
            metadata[name] = dg.MetadataValue.int(int(report.totals[name]))
    return metadata
