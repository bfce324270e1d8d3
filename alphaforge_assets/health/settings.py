"""Settings that are each well formed, and contradict one another or what is there."""

import os
from collections.abc import Iterator
from pathlib import Path

from alphaforge_assets.health.findings import Finding
from alphaforge_assets.settings import Settings


def contradictions(settings: Settings, dagster_home: str | None) -> Iterator[Finding]:
    """`dagster_home` is what the environment says to Dagster's own commands."""
    found = list(_contradictions(settings, dagster_home))
    yield from found or [Finding("settings", "ok", "none contradicts another")]


def _contradictions(settings: Settings, dagster_home: str | None) -> Iterator[Finding]:
    if settings.clickhouse_url and (settings.home / "warehouse" / "engine").exists():
        what = "CLICKHOUSE_URL is set, and the home holds an embedded warehouse that nobody reads then"
        yield Finding("settings", "note", what, "unset CLICKHOUSE_URL to read that one")
    if dagster_home and Path(dagster_home).absolute() != settings.dagster_home:
        what = f"DAGSTER_HOME is {dagster_home}, and `up` keeps its runs in {settings.dagster_home}"
        yield Finding("settings", "note", what, "unset it, or Dagster's own commands see other runs")
    if "://" not in settings.reports and (folder := Path(settings.reports)).exists() and not os.access(folder, os.W_OK):
        yield Finding("settings", "wrong", f"ALPHAFORGE_REPORTS {folder} cannot be written to", "choose another folder")
    if "://" not in settings.reports and Path(settings.reports).is_file():
        yield Finding("settings", "wrong", f"ALPHAFORGE_REPORTS {settings.reports} is a file", "name a directory")
    if settings.alerts and not settings.live_updates:
        what = "ALPHAFORGE_ALERTS names receivers and ALPHAFORGE_LIVE is off: what is late is then meant to be"
        yield Finding("settings", "note", what, "nothing, if that is meant")
    unsafe = [w.shown for w in settings.alerts if w.url.startswith("http://") and not _is_local(w.url)]
    if unsafe:
        what = f"ALPHAFORGE_ALERTS sends in the clear to {', '.join(unsafe)}"
        yield Finding("settings", "note", what, "write https://")


def _is_local(url: str) -> bool:
    return url.removeprefix("http://").partition("/")[0].partition(":")[0] in ("127.0.0.1", "localhost")
