"""What the UI shows of each asset: description, owner, kinds, tags, table name and column schema, from one place.

Column names, types and comments are read from sql/migrations: the COMMENTs are the data dictionary (a test holds them
against the database's own).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.warehouse import statements

OWNER = "team:market-data"

# Tables and views that belong to no dataset.
_OTHERS = {
    "venues": "dimensions",
    "instruments": "dimensions",
    "venues_history": "dimensions",
    "ingest_batches": "landing",
    "archive_files": "landing",
    "rejected_rows": "staging",
    "coverage": "mart",
    "gaps": "mart",
    "snapshots": "mart",
    "snapshot_hashes": "mart",
    "published_series": "mart",
    "runs": "audit",
    "v_coverage": "research",
    "v_gaps": "research",
    "v_instruments": "research",
    "v_instruments_history": "research",
    "v_reconciliation": "research",
    "v_snapshots": "research",
    "v_runs": "research",
    "v_ingest_batches": "research",
}


def layers() -> dict[str, str]:
    """The layer of every table and view that people are shown; also the Dagster group of its asset."""
    known: dict[str, str] = {}
    for dataset in DATASETS.values():
        landing, staging, current = dataset.chain
        known |= {landing: "landing", staging: "staging", dataset.history: "mart", current: "mart"}
        known[dataset.view] = "research"
        if dataset.derives:
            known |= {dataset.derives: "mart", f"v_{dataset.derives}": "research"}
    return known | _OTHERS


_OBJECT = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:TABLE|VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?analytics\.(\w+)\s*\n\((.*?)\n\)(.*?);\s*$",
    re.DOTALL | re.MULTILINE,
)
_ADDED = re.compile(
    r"^ALTER TABLE analytics\.(\w+) ADD COLUMN IF NOT EXISTS (\w+) (.+?) COMMENT '((?:[^']|'')*)'"
    r"(?: CODEC\([^;]+?\)\))?(?: AFTER (\w+))?;$",
    re.MULTILINE,
)
_DROPPED = re.compile(r"^ALTER TABLE analytics\.(\w+) (DROP COLUMN IF EXISTS [^;]+);$", re.MULTILINE)
_MOVED = re.compile(r"^ALTER TABLE analytics\.(\w+) MODIFY COLUMN (\w+) [^;]+ AFTER (\w+);$", re.MULTILINE)
_RETOLD = re.compile(r"^ALTER TABLE analytics\.(\w+) MODIFY COMMENT '((?:[^']|'')*)';$", re.MULTILINE)
_RENEWED = re.compile(r"^ALTER TABLE analytics\.(\w+) COMMENT COLUMN (\w+) '((?:[^']|'')*)';$", re.MULTILINE)
_COLUMN = re.compile(r"^ {4}(\w+) (.+?) COMMENT '((?:[^']|'')*)'", re.MULTILINE)
_COMMENT = re.compile(r"COMMENT '((?:[^']|'')*)'\s*(?:\nAS SELECT .*)?$", re.DOTALL)
_TYPE = re.compile(r"(?:DEFAULT|MATERIALIZED|ALIAS|CODEC)\b")


@dataclass(frozen=True)
class Described:
    """A table or view as its migration describes it."""

    comment: str
    columns: tuple[tuple[str, str, str], ...]  # name, type, comment


def dictionary() -> Mapping[str, Described]:
    """Every table and view by name: of sql/migrations, and of datasets that bring tables of their own."""
    return _dictionary(tuple(d.ddl for d in DATASETS.values() if d.ddl))


@cache
def _dictionary(more: tuple[Path, ...]) -> Mapping[str, Described]:
    """Later files win."""
    found: dict[str, Described] = {}
    migrations = sorted(statements.MIGRATIONS.glob("*.sql"), key=lambda f: (f.name[0] != "V", f.name))
    for file in (*migrations, *more):
        text = file.read_text(encoding="utf-8")
        for name, body, rest in _OBJECT.findall(text):
            columns = tuple((c, _TYPE.split(kind)[0].strip(), said) for c, kind, said in _COLUMN.findall(body))
            comment = _COMMENT.search(rest)
            found[name] = Described(comment.group(1) if comment else "", columns)
        for name, commands in _DROPPED.findall(text):
            gone = set(re.findall(r"EXISTS (\w+)", commands))
            found[name] = replace(found[name], columns=tuple(c for c in found[name].columns if c[0] not in gone))
        for name, column, kind, said, after in _ADDED.findall(text):
            if column not in {c for c, _, _ in found[name].columns}:  # IF NOT EXISTS: the first one counts
                found[name] = _placed(found[name], (column, _TYPE.split(kind)[0].strip(), said), after)
        for name, column, after in _MOVED.findall(text):
            (moved,) = (c for c in found[name].columns if c[0] == column)
            rest = tuple(c for c in found[name].columns if c != moved)
            found[name] = _placed(replace(found[name], columns=rest), moved, after)
        for name, said in _RETOLD.findall(text):
            found[name] = replace(found[name], comment=said)
        for name, column, said in _RENEWED.findall(text):
            renewed = tuple((c, kind, said if c == column else before) for c, kind, before in found[name].columns)
            found[name] = replace(found[name], columns=renewed)
    return found


def _placed(described: Described, column: tuple[str, str, str], after: str) -> Described:
    """With one column more, after the one named, or as the last one."""
    names = [c for c, _, _ in described.columns]
    place = names.index(after) + 1 if after else len(names)
    return replace(described, columns=(*described.columns[:place], column, *described.columns[place:]))


def column_schema(name: str) -> dg.TableSchema:
    """Columns of a table or view for the UI."""
    return dg.TableSchema(
        [dg.TableColumn(c, type=kind, description=text) for c, kind, text in dictionary()[name].columns]
    )


class Shown(TypedDict):
    """Arguments that `dg.asset` and `dg.AssetSpec` share."""

    group_name: str
    description: str
    owners: list[str]
    kinds: set[str]
    tags: dict[str, str]
    metadata: dict[str, Any]


def described(name: str, says: str = "", upstream: str = "") -> Shown:
    """Arguments of `dg.asset` or `dg.AssetSpec` for a table or view.

    `says` describes an asset that is a part of it. Columns are the columns of the same name of `upstream`. What is true
    of all its partitions stands here: in their events it would be written once a partition.
    """
    layer = layers()[name]
    metadata: dict[str, Any] = {
        "dagster/table_name": f"analytics.{name}",
        "dagster/column_schema": column_schema(name),
    }
    if upstream:
        metadata["dagster/column_lineage"] = column_lineage(name, upstream)
    return {
        "group_name": layer,
        "description": says or dictionary()[name].comment,
        "owners": [OWNER],
        "kinds": {"clickhouse", "view" if layer == "research" else "table"},
        "tags": {"layer": layer},
        "metadata": metadata,
    }


def column_lineage(name: str, upstream: str) -> dg.TableColumnLineage:
    """That columns of `name` carry the column of the same name of `upstream`."""
    there = {c for c, _, _ in dictionary()[upstream].columns}
    return dg.TableColumnLineage(
        {
            c: [dg.TableColumnDep(asset_key=dg.AssetKey(upstream), column_name=c)]
            for c, _, _ in dictionary()[name].columns
            if c in there
        }
    )


def row_counts(client: Client, table: str, covered: Rectangle) -> dict[str, dg.MetadataValue]:
    """`dagster/row_count` is the whole table's; `rows_in_range` those of the partitions of this run."""
    (counts,) = statements.rows(
        client,
        "reads/row_counts",
        database="analytics",
        table=table,
        instruments=covered.instrument_ids,
        start=covered.start_time,
        end=covered.end_time,
    )
    return {
        "dagster/row_count": dg.MetadataValue.int(counts["total"]),
        "rows_in_range": dg.MetadataValue.int(counts["in_range"]),
    }


def record_beside(context: dg.AssetExecutionContext, name: str, metadata: Mapping[str, dg.MetadataValue]) -> None:
    """Note that a run also wrote the table `name`: one event a run, where an asset would cost one a partition."""
    context.log_event(dg.AssetMaterialization(asset_key=name, metadata=metadata))
