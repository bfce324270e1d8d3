"""Migrating, looking, validating and repairing on a real ClickHouse, and what Flyway would find there afterwards."""

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import BadInput, MigrationRefused, Occupied, WarehouseRefused
from alphaforge_assets.warehouse.client import translated
from alphaforge_assets.warehouse.migrations import history, lock, sql_rules
from alphaforge_assets.warehouse.migrations.files import read_migrations
from alphaforge_assets.warehouse.migrations.migrator import Event, info, migrate, repair, validate

REAL = Path(__file__).parents[1] / "sql" / "migrations"

V1 = """-- Two tables.
CREATE TABLE IF NOT EXISTS bars (x UInt32 COMMENT 'Number') ENGINE = MergeTree ORDER BY x COMMENT 'Bars';
CREATE TABLE IF NOT EXISTS notes (y String) ENGINE = MergeTree ORDER BY y;
"""
V2 = "ALTER TABLE bars ADD COLUMN IF NOT EXISTS z String COMMENT 'Last', MODIFY COMMENT 'Bars, wider';\n"
R = "CREATE OR REPLACE VIEW v_bars AS SELECT x, z FROM bars;\n"

# D4 of the design: what Flyway itself creates, reads, deletes and updates.
FLYWAY_CREATE = """
CREATE TABLE IF NOT EXISTS "flyway_schema_history"(    installed_rank Int32,    version Nullable(String),
    description String,    type String,    script String,    checksum Nullable(Int32),    installed_by String,
    installed_on DateTime DEFAULT now(),    execution_time Int32,    success Bool)
ENGINE = MergeTree PRIMARY KEY (script)"""
FLYWAY_INSERT = """
INSERT INTO "flyway_schema_history" ("installed_rank", "version", "description", "type", "script", "checksum",
    "installed_by", "execution_time", "success")
VALUES ({v0:Int32}, {v1:Nullable(String)}, {v2:String}, {v3:String}, {v4:String}, {v5:Nullable(Int32)},
    {v6:String}, {v7:Int32}, {v8:Bool})"""
FLYWAY_DELETE = """DELETE FROM "flyway_schema_history" WHERE "success" = 0 AND "version" = '3'"""
FLYWAY_UPDATE = """
UPDATE "flyway_schema_history" SET "description"='n' , "type"='SQL' , "checksum"=7 WHERE "installed_rank"=1"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "migrations"
    path.mkdir()
    (path / "V001__tables.sql").write_text(V1)
    (path / "V002__wider.sql").write_text(V2)
    (path / "R__v_bars.sql").write_text(R)
    return path


@pytest.fixture
def database(warehouse: Client) -> Iterator[str]:
    """The name of a database that is not there, and will not be."""
    name = f"migrations_{uuid.uuid4().hex[:12]}"
    yield name
    warehouse.command("DROP DATABASE IF EXISTS {name:Identifier}", parameters={"name": name})


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def dump(client: Client, database: str) -> list[tuple[object, ...]]:
    """The history without what depends on the clock and the user."""
    statement = (
        "SELECT installed_rank, version, description, type, script, checksum, success"
        " FROM {database:Identifier}.flyway_schema_history ORDER BY installed_rank"
    )
    return [tuple(row) for row in client.query(statement, parameters={"database": database}).result_rows]


def schema(client: Client, database: str) -> dict[str, str]:
    """The CREATE statement of everything in the database but the history."""
    statement = (
        "SELECT name, create_table_query FROM system.tables"
        " WHERE database = {database:String} AND name != {history:String}"
    )
    return dict(client.query(statement, parameters={"database": database, "history": history.TABLE}).result_rows)


def states(client: Client, folder: Path, database: str) -> list[tuple[str, str]]:
    return [(row.script, row.state) for row in info(client, folder, database=database)]


def write_row(client: Client, database: str, *values: object) -> None:
    """A row of the history as another tool would write it."""
    parameters = {f"v{n}": value for n, value in enumerate(values)}
    client.command(FLYWAY_INSERT, parameters=parameters, settings={"database": database})


def test_golden_history(warehouse: Client, folder: Path, database: str, locks: Path) -> None:
    applied = migrate(warehouse, folder, database=database, lock_dir=locks)
    assert [(a.script, a.version, a.description, a.rank) for a in applied] == [
        ("V001__tables.sql", "001", "tables", 1),
        ("V002__wider.sql", "002", "wider", 2),
        ("R__v_bars.sql", None, "v bars", 3),
    ]
    assert dump(warehouse, database) == [
        (1, "001", "tables", "SQL", "V001__tables.sql", -752193189, True),
        (2, "002", "wider", "SQL", "V002__wider.sql", -1764420391, True),
        (3, None, "v bars", "SQL", "R__v_bars.sql", -677911356, True),
    ]
    columns = warehouse.query(
        "SELECT name, type, default_expression FROM system.columns WHERE database = {d:String} AND table = {t:String}",
        parameters={"d": database, "t": history.TABLE},
    ).result_rows
    assert columns == [
        ("installed_rank", "Int32", ""),
        ("version", "Nullable(String)", ""),
        ("description", "String", ""),
        ("type", "String", ""),
        ("script", "String", ""),
        ("checksum", "Nullable(Int32)", ""),
        ("installed_by", "String", ""),
        ("installed_on", "DateTime", "now()"),
        ("execution_time", "Int32", ""),
        ("success", "Bool", ""),
    ]
    rows = history.read(warehouse, database)
    assert {row.installed_by for row in rows} == {"default"}
    assert all(row.execution_time >= 0 and row.installed_on.year >= 2026 for row in rows)


def test_nothing_is_left_but_what_was_asked_for(warehouse: Client, folder: Path, database: str, locks: Path) -> None:
    migrate(warehouse, folder, database=database, lock_dir=locks)
    assert history.tables(warehouse, database) == ["bars", history.TABLE, "notes", "v_bars"]
    assert "COMMENT 'Bars, wider'" in schema(warehouse, database)["bars"]


def test_up_to_date_does_nothing(warehouse: Client, folder: Path, database: str, locks: Path) -> None:
    migrate(warehouse, folder, database=database, lock_dir=locks)
    before = dump(warehouse, database)
    events: list[Event] = []
    assert migrate(warehouse, folder, database=database, lock_dir=locks, on_event=events.append) == []
    assert (dump(warehouse, database), events) == (before, [])


def test_events_tell_what_happens(warehouse: Client, folder: Path, database: str) -> None:
    events: list[Event] = []
    migrate(warehouse, folder, database=database, lock_dir=None, on_event=events.append)
    assert [(e.kind, e.statement, e.of) for e in events if e.subject == "V001__tables.sql"] == [
        ("running", 0, 2),
        ("ran", 1, 2),
        ("ran", 2, 2),
        ("recorded", 2, 2),
    ]
    assert [e.kind for e in events[:2]] == ["locked", "prepared"]


def test_new_files_are_applied_after_the_old(warehouse: Client, folder: Path, database: str, locks: Path) -> None:
    late = (folder / "V002__wider.sql").rename(folder.parent / "late.sql")
    (folder / "R__v_bars.sql").write_text(R.replace(", z", ""))
    migrate(warehouse, folder, database=database, lock_dir=locks)
    late.rename(folder / "V1.1__wider.sql")
    assert states(warehouse, folder, database)[-1] == ("V1.1__wider.sql", "pending")
    assert [a.rank for a in migrate(warehouse, folder, database=database, lock_dir=locks)] == [3]


def test_a_changed_repeatable_runs_again_and_leaves_a_row_each(
    warehouse: Client, folder: Path, database: str, locks: Path
) -> None:
    migrate(warehouse, folder, database=database, lock_dir=locks)
    (folder / "R__v_bars.sql").write_text(R.replace("x, z", "z, x"))
    assert states(warehouse, folder, database)[2:] == [("R__v_bars.sql", "outdated"), ("R__v_bars.sql", "pending")]
    assert [a.script for a in migrate(warehouse, folder, database=database, lock_dir=locks)] == ["R__v_bars.sql"]
    assert "SELECT z, x" in re.sub(r"\s+", " ", schema(warehouse, database)["v_bars"])
    assert states(warehouse, folder, database)[2:] == [("R__v_bars.sql", "superseded"), ("R__v_bars.sql", "applied")]
    (folder / "R__v_bars.sql").write_text(R)  # back to the first text: not what ran last
    assert [a.rank for a in migrate(warehouse, folder, database=database, lock_dir=locks)] == [5]
    validate(warehouse, folder, database=database)


def test_line_ends_change_neither_checksum_nor_tables(warehouse: Client, folder: Path, database: str) -> None:
    text = V1.replace("'Number'", "'Number\nof bars'")
    (folder / "V001__tables.sql").write_text(text)
    migrate(warehouse, folder, database=database, lock_dir=None)
    expected = schema(warehouse, database)
    (folder / "V001__tables.sql").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    validate(warehouse, folder, database=database)
    warehouse.command("DROP DATABASE {d:Identifier}", parameters={"d": database})
    migrate(warehouse, folder, database=database, lock_dir=None)
    assert schema(warehouse, database) == expected


def test_info_and_validate_change_nothing(warehouse: Client, folder: Path, database: str) -> None:
    assert {state for _, state in states(warehouse, folder, database)} == {"pending"}
    with pytest.raises(MigrationRefused, match=r"V001__tables\.sql has not been applied: run `alphaforge migrate`"):
        validate(warehouse, folder, database=database)
    assert repair(warehouse, folder, database=database) == []
    names = warehouse.query("SELECT name FROM system.databases").result_columns[0]
    assert database not in names


# Disagreements: each is named by validate, stops migrate, and says what to do.


def refused(client: Client, folder: Path, database: str) -> str:
    """What migrate and validate alike say; neither changes the history."""
    before = dump(client, database)
    with pytest.raises(MigrationRefused) as validated:
        validate(client, folder, database=database)
    with pytest.raises(MigrationRefused) as migrated:
        migrate(client, folder, database=database, lock_dir=None)
    assert set(str(migrated.value).splitlines()) <= set(str(validated.value).splitlines())
    assert dump(client, database) == before
    return str(migrated.value)


def test_a_changed_applied_file(warehouse: Client, folder: Path, database: str, locks: Path) -> None:
    migrate(warehouse, folder, database=database, lock_dir=locks)
    (folder / "V002__wider.sql").rename(folder / "V002__broader.sql")
    (folder / "V001__tables.sql").write_text(V1.replace("notes", "remarks"))
    message = refused(warehouse, folder, database)
    assert re.search(r"V001__tables\.sql \(rank 1 .*changed since it was applied \(checksum .*--repair", message)
    assert re.search(r"V002__wider\.sql .*description 'wider', in the file 'broader'", message)
    assert states(warehouse, folder, database)[0] == ("V001__tables.sql", "applied")

    done = repair(warehouse, folder, database=database, lock_dir=locks)
    assert [re.sub(r"say.*: (\w+).*", r"\1", line) for line in done] == [
        "Made the row of V001__tables.sql checksum",
        "Made the row of V002__wider.sql description",
    ]
    validate(warehouse, folder, database=database)
    assert repair(warehouse, folder, database=database) == []
    assert [row[2] for row in dump(warehouse, database)] == ["tables", "broader", "v bars"]


def test_an_applied_file_that_is_gone(warehouse: Client, folder: Path, database: str) -> None:
    migrate(warehouse, folder, database=database, lock_dir=None)
    for name in ("V001__tables.sql", "R__v_bars.sql"):
        (folder / name).unlink()
    message = refused(warehouse, folder, database)
    assert re.search(r"V001__tables\.sql .*its file is gone: bring the file back", message)
    assert re.search(r"R__v_bars\.sql .*its file is gone", message)
    assert repair(warehouse, folder, database=database) == []  # and does not pretend otherwise


def test_a_database_ahead_of_the_files(warehouse: Client, folder: Path, database: str) -> None:
    migrate(warehouse, folder, database=database, lock_dir=None)
    (folder / "V002__wider.sql").unlink()
    said = r"V002__wider\.sql .*newer than every migration of this program: .*install a version at least as new"
    assert re.search(said, refused(warehouse, folder, database))
    assert ("V002__wider.sql", "future") in states(warehouse, folder, database)


def test_a_file_that_came_too_late(warehouse: Client, folder: Path, database: str) -> None:
    migrate(warehouse, folder, database=database, lock_dir=None)
    (folder / "V1_5__late.sql").write_text("DROP TABLE IF EXISTS bars")
    message = refused(warehouse, folder, database)
    assert "V1_5__late.sql has not been applied, but later versions have: give it a version above" in message
    assert states(warehouse, folder, database)[-1] == ("V1_5__late.sql", "ignored")
    assert "bars" in schema(warehouse, database)


def test_a_failing_statement(warehouse: Client, folder: Path, database: str, locks: Path) -> None:
    migrate(warehouse, folder, database=database, lock_dir=locks)
    bad = folder / "V003__bad.sql"
    bad.write_text(
        "ALTER TABLE bars\nADD COLUMN IF NOT EXISTS a Int8;\n\nALTER TABLE absent ADD COLUMN IF NOT EXISTS a Int8;\n"
    )
    (folder / "V004__never.sql").write_text("DROP TABLE IF EXISTS bars")
    with pytest.raises(MigrationRefused) as caught:
        migrate(warehouse, folder, database=database, lock_dir=locks)
    message = str(caught.value)
    assert f"{bad}:4: statement 2 of 2 failed: " in message
    assert "UNKNOWN_TABLE" in message
    assert "\nALTER TABLE absent ADD COLUMN IF NOT EXISTS a Int8\n" in message
    assert "alphaforge migrate --repair" in message
    assert [row[:5] + row[6:] for row in dump(warehouse, database)][3:] == [
        (4, "003", "bad", "SQL", "V003__bad.sql", False)
    ]
    assert states(warehouse, folder, database)[3:] == [("V003__bad.sql", "failed"), ("V004__never.sql", "pending")]
    assert "V003__bad.sql (rank 4" in refused(warehouse, folder, database)

    assert repair(warehouse, folder, database=database) == [
        "Removed the row of V003__bad.sql, which failed; what it did before that is still there."
    ]
    for _ in range(2):  # fails again within the second, and is written down again
        with pytest.raises(MigrationRefused, match="statement 2 of 2 failed"):
            migrate(warehouse, folder, database=database, lock_dir=locks)
        assert len(dump(warehouse, database)) == 4
        repair(warehouse, folder, database=database)
    bad.write_text("ALTER TABLE bars ADD COLUMN IF NOT EXISTS a Int8")
    assert [a.rank for a in migrate(warehouse, folder, database=database, lock_dir=locks)] == [4, 5]
    validate(warehouse, folder, database=database)


def test_a_failing_repeatable(warehouse: Client, folder: Path, database: str) -> None:
    (folder / "R__v_bars.sql").write_text("CREATE OR REPLACE VIEW v_bars AS SELECT nothing FROM bars")
    with pytest.raises(MigrationRefused, match=r"R__v_bars\.sql:1: statement 1 of 1 failed"):
        migrate(warehouse, folder, database=database, lock_dir=None)
    assert "R__v_bars.sql (rank 3" in refused(warehouse, folder, database)
    repair(warehouse, folder, database=database)
    (folder / "R__v_bars.sql").write_text(R)
    assert len(migrate(warehouse, folder, database=database, lock_dir=None)) == 1


def test_what_clickhouse_cannot_parse_stops_everything_first(warehouse: Client, folder: Path, database: str) -> None:
    (folder / "V003__bad.sql").write_text("DROP TABLE IF EXISTS a;\nCREATE TABLE IF NOT EXISTS b (x Int8,, y Int8);\n")
    (folder / "R__worse.sql").write_text("DROP TABLE IF EXISTS a b c;\n")
    with pytest.raises(BadInput) as caught:
        migrate(warehouse, folder, database=database, lock_dir=None)
    first, second = str(caught.value).splitlines()
    assert re.search(r"V003__bad\.sql:2: .*Syntax error", first)
    assert re.search(r"R__worse\.sql:1: .*Syntax error", second)
    assert warehouse.query("SELECT name FROM system.databases").result_columns[0].count(database) == 0


def test_a_long_statement(warehouse: Client, folder: Path, database: str) -> None:
    columns = ",\n".join(f"c{n} Float64 COMMENT 'Column {n} of very many: {'x' * 60}'" for n in range(900))
    (folder / "V003__long.sql").write_text(
        f"CREATE TABLE IF NOT EXISTS long ({columns}) ENGINE = MergeTree ORDER BY c0"
    )
    assert len(migrate(warehouse, folder, database=database, lock_dir=None)) == 4


def test_somebody_elses_database_is_left_alone(warehouse: Client, folder: Path, database: str) -> None:
    warehouse.command("CREATE DATABASE {d:Identifier}", parameters={"d": database})
    warehouse.command("CREATE TABLE {d:Identifier}.bars (x String) ENGINE = Memory", parameters={"d": database})
    with pytest.raises(MigrationRefused, match=r"holds tables \(bars\) but no flyway_schema_history.*another database"):
        migrate(warehouse, folder, database=database, lock_dir=None)
    assert history.tables(warehouse, database) == ["bars"]


# What Flyway wrote, and what it would do with what we wrote.


@pytest.fixture
def flyways(warehouse: Client, database: str) -> str:
    """A database whose history Flyway made."""
    warehouse.command("CREATE DATABASE {d:Identifier}", parameters={"d": database})
    warehouse.command(FLYWAY_CREATE, settings={"database": database})
    write_row(warehouse, database, 0, None, "<< Flyway Schema Creation >>", "SCHEMA", f'"{database}"', None, "u", 0, 1)
    return database


def test_flyways_own_table_is_used(warehouse: Client, folder: Path, flyways: str) -> None:
    assert [a.rank for a in migrate(warehouse, folder, database=flyways, lock_dir=None)] == [1, 2, 3]
    (folder / "V001__tables.sql").write_text(V1 + "-- more")
    (folder / "V003__bad.sql").write_text("ALTER TABLE absent MODIFY COMMENT 'x'")
    assert len(repair(warehouse, folder, database=flyways)) == 1
    with pytest.raises(MigrationRefused):
        migrate(warehouse, folder, database=flyways, lock_dir=None)
    assert len(repair(warehouse, folder, database=flyways)) == 1
    assert states(warehouse, folder, flyways)[0] == ("V001__tables.sql", "applied")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            (4, "3", "code", "JDBC", "V3__Code", 5, "u", 0, 1),
            r"rank 4 \(V3__Code\): type JDBC is not SQL: migrate with the tool",
        ),
        ((4, "1", "<< Flyway Baseline >>", "BASELINE", "b", None, "u", 0, 1), "type BASELINE is not SQL"),
        ((4, "002", "wider", "DELETE", "V002__wider.sql", 5, "u", 0, 1), "type DELETE is not SQL"),
        (
            (3, "3", "twice", "SQL", "V3__twice.sql", 5, "u", 0, 1),
            r"rank 3 .*has the same rank: two tools migrated at once",
        ),
        ((4, "3a", "odd", "SQL", "V3a__odd.sql", 5, "u", 0, 1), r"version '3a' is not a number; correct the row"),
    ],
)
def test_a_corrupt_history_stops_everything(
    warehouse: Client, folder: Path, database: str, row: tuple[object, ...], message: str
) -> None:
    migrate(warehouse, folder, database=database, lock_dir=None)
    write_row(warehouse, database, *row)
    for look in (info, validate, repair):
        with pytest.raises(MigrationRefused, match=message):
            look(warehouse, folder, database=database)
    with pytest.raises(MigrationRefused, match=message):
        migrate(warehouse, folder, database=database, lock_dir=None)


def test_flyways_own_repair_works_on_our_table(warehouse: Client, folder: Path, database: str) -> None:
    migrate(warehouse, folder, database=database, lock_dir=None)
    write_row(warehouse, database, 4, "3", "bad", "SQL", "V3__bad.sql", 5, "u", 0, 0)
    warehouse.command(FLYWAY_DELETE, settings={"database": database})
    warehouse.command(FLYWAY_UPDATE, settings={"database": database})
    assert [row[2:6:3] for row in dump(warehouse, database)] == [
        ("n", 7),
        ("wider", -1764420391),
        ("v bars", -677911356),
    ]


# The lock.


def hold(client: Client, database: str, holder: str) -> None:
    """A lock as another machine would leave it."""
    client.command("CREATE DATABASE IF NOT EXISTS {d:Identifier}", parameters={"d": database})
    client.command(f"CREATE TABLE {database}.{lock.TABLE} (held UInt8) ENGINE = Memory COMMENT '{holder}'")


def test_a_held_lock_is_waited_for_and_its_holder_named(warehouse: Client, folder: Path, database: str) -> None:
    hold(warehouse, database, "abc.1 pid 7 on elsewhere")
    events: list[Event] = []
    with pytest.raises(
        Occupied, match=rf"being migrated by pid 7 on elsewhere; waited 0.3 s.*{database}\.{lock.TABLE}"
    ):
        migrate(warehouse, folder, database=database, lock_dir=None, wait_s=0.3, on_event=events.append)
    assert {(e.kind, e.subject) for e in events} == {("waiting", "pid 7 on elsewhere")}
    assert history.tables(warehouse, database) == [lock.TABLE]


def test_a_held_file_lock_is_waited_for(warehouse: Client, folder: Path, database: str, locks: Path) -> None:
    def second_migrator(event: Event) -> None:
        if event.kind == "prepared":
            with pytest.raises(Occupied, match=rf"being migrated by pid {os.getpid()} on "):
                migrate(warehouse, folder, database=database, lock_dir=locks, wait_s=0.2)

    assert len(migrate(warehouse, folder, database=database, lock_dir=locks, on_event=second_migrator)) == 3


def test_an_unusable_lock_directory(warehouse: Client, folder: Path, database: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"lock directory .*file/locks: .*must be writable"):
        migrate(warehouse, folder, database=database, lock_dir=tmp_path / "file" / "locks")


def test_a_dead_holder_elsewhere_is_for_people_to_judge(warehouse: Client, folder: Path, database: str) -> None:
    hold(warehouse, database, "abc.1 pid 7 on elsewhere")
    with pytest.raises(Occupied, match=rf"if it has died, drop its lock, the table {database}\.{lock.TABLE}\)"):
        migrate(warehouse, folder, database=database, lock_dir=None, wait_s=0)
    warehouse.command(f"DROP TABLE {database}.{lock.TABLE}")
    assert len(migrate(warehouse, folder, database=database, lock_dir=None, wait_s=0)) == 3
    assert lock.TABLE not in history.tables(warehouse, database)


def test_a_lock_that_was_lost_stops_the_migration(warehouse: Client, folder: Path, database: str) -> None:
    def lose(event: Event) -> None:
        if event.kind == "ran" and event.subject == "V002__wider.sql":
            warehouse.command(f"DROP TABLE {database}.{lock.TABLE}")
            hold(warehouse, database, "abc.1 pid 7 on elsewhere")

    with pytest.raises(MigrationRefused, match=r"is held by abc\.1 pid 7 on elsewhere.*run `alphaforge migrate` again"):
        migrate(warehouse, folder, database=database, lock_dir=None, on_event=lose)
    assert [row[0] for row in dump(warehouse, database)] == [1]  # the second ran, and did not write its row
    assert lock.TABLE in history.tables(warehouse, database)  # theirs is not ours to give back


def test_a_rank_is_given_once(warehouse: Client, folder: Path, database: str) -> None:
    def overtake(event: Event) -> None:
        if event.kind == "ran" and event.subject == "V002__wider.sql":
            write_row(warehouse, database, 2, "002", "wider", "SQL", "V002__other.sql", 5, "u", 0, 1)

    with pytest.raises(MigrationRefused, match=r"rank 2 of .* went to V002__other\.sql: another migrator is at work"):
        migrate(warehouse, folder, database=database, lock_dir=None, on_event=overtake)
    assert [row[4] for row in dump(warehouse, database)] == ["V001__tables.sql", "V002__other.sql"]


# What the rules let pass really can be repeated.

TABLE = (
    "CREATE TABLE IF NOT EXISTS t (x UInt8, y DateTime, s String, d Int8 DEFAULT 1)"
    " ENGINE = MergeTree ORDER BY x TTL y + INTERVAL 1 DAY"
)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE IF NOT EXISTS t2 AS t",
        "CREATE TABLE IF NOT EXISTS t2 ENGINE = Memory EMPTY AS SELECT x FROM t",
        "DROP TABLE IF EXISTS t2; CREATE TABLE IF NOT EXISTS t2 ENGINE = Memory AS SELECT 1 AS x WHERE 0 = 0",
        "CREATE OR REPLACE VIEW v (x UInt8 COMMENT 'X') AS SELECT x FROM t WHERE s IN ('a') COMMENT 'V'",
        "CREATE VIEW IF NOT EXISTS v AS WITH 1 AS q SELECT x + q FROM t WHERE x = {x:UInt8}",
        "CREATE MATERIALIZED VIEW IF NOT EXISTS m ENGINE = MergeTree ORDER BY x AS SELECT x FROM t",
        "DROP TABLE IF EXISTS t SYNC; DROP VIEW IF EXISTS v",
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS z Int8 COMMENT 'Z' AFTER x, MODIFY ORDER BY (x, z)",
        "ALTER TABLE t DROP COLUMN IF EXISTS s, MODIFY COMMENT 'b, c', COMMENT COLUMN x 'X'",
        "ALTER TABLE t MODIFY COLUMN s LowCardinality(String) DEFAULT 'a' CODEC(ZSTD(3))",
        "ALTER TABLE t MODIFY SETTING merge_with_ttl_timeout = 3600, parts_to_throw_insert = 10",
        "ALTER TABLE t RESET SETTING merge_with_ttl_timeout, parts_to_throw_insert",
        "ALTER TABLE t MODIFY TTL y + INTERVAL 2 DAY, y + INTERVAL 3 DAY DELETE WHERE x = 1 SETTINGS alter_sync = 1",
        "ALTER TABLE t ADD INDEX IF NOT EXISTS i s TYPE minmax; ALTER TABLE t MATERIALIZE INDEX i;"
        " ALTER TABLE t DROP INDEX IF EXISTS i",
        "ALTER TABLE t ADD PROJECTION IF NOT EXISTS p (SELECT s, count() GROUP BY s);"
        " ALTER TABLE t MATERIALIZE PROJECTION p; ALTER TABLE t DROP PROJECTION IF EXISTS p",
        "ALTER TABLE t ADD CONSTRAINT IF NOT EXISTS c CHECK x < 9, DROP CONSTRAINT IF EXISTS d",
        "ALTER TABLE t ADD STATISTICS IF NOT EXISTS x TYPE tdigest; ALTER TABLE t MODIFY STATISTICS x TYPE uniq;"
        " ALTER TABLE t MATERIALIZE STATISTICS x; ALTER TABLE t DROP STATISTICS IF EXISTS x",
        "ALTER TABLE t MATERIALIZE TTL; ALTER TABLE t MATERIALIZE COLUMN d",
        "CREATE TABLE IF NOT EXISTS t2 (x UInt8, y DateTime) ENGINE = MergeTree ORDER BY x;"
        " CREATE MATERIALIZED VIEW IF NOT EXISTS m TO t2 AS SELECT x FROM t;"
        " ALTER TABLE m MODIFY QUERY SELECT x, y FROM t",
    ],
)
def test_what_is_allowed_can_be_repeated(warehouse: Client, folder: Path, database: str, sql: str) -> None:
    for path in folder.iterdir():
        path.unlink()
    sql = f"{TABLE};\n{sql};\n"
    (folder / "V1__allowed.sql").write_text(sql)
    migrate(warehouse, folder, database=database, lock_dir=None)
    expected = schema(warehouse, database)
    (folder / "V2__again.sql").write_text(sql)  # as after a kill before the row was written
    migrate(warehouse, folder, database=database, lock_dir=None)
    assert schema(warehouse, database) == expected


@pytest.mark.parametrize(
    ("rename", "seen"),
    [
        ("RENAME TABLE IF EXISTS bars TO old", ["flyway_schema_history", "notes", "old"]),
        ("ALTER TABLE bars RENAME COLUMN IF EXISTS z TO last", ["bars", "flyway_schema_history", "notes"]),
    ],
)
def test_a_rename_by_itself_can_be_repeated(
    warehouse: Client, folder: Path, database: str, rename: str, seen: list[str]
) -> None:
    (folder / "R__v_bars.sql").unlink()
    for n in (3, 4):
        (folder / f"V{n}__rename.sql").write_text(rename)
    migrate(warehouse, folder, database=database, lock_dir=None)
    assert history.tables(warehouse, database) == seen


@pytest.mark.parametrize(
    ("sql", "second_time"),
    [
        ("ALTER TABLE t REMOVE TTL", "cannot remove"),
        ("ALTER TABLE t MODIFY COLUMN d REMOVE DEFAULT", "cannot remove"),
        ("ALTER TABLE t RENAME COLUMN d TO e", "Wrong column"),
        ("RENAME TABLE t TO t2", "exist"),
    ],
)
def test_what_is_refused_for_good_reason(warehouse: Client, database: str, sql: str, second_time: str) -> None:
    """These run once and fail the second time: a kill before the row is written would have left no way forward."""
    settings = {"database": database}
    warehouse.command("CREATE DATABASE {d:Identifier}", parameters={"d": database})
    warehouse.command(TABLE, settings=settings)
    warehouse.command(sql, settings=settings)
    with pytest.raises(WarehouseRefused, match=second_time), translated():
        warehouse.command(sql, settings=settings)


# The project's own migrations.


@pytest.mark.skipif(not any(REAL.glob("*.sql")), reason="no migrations in sql/migrations")
def test_the_projects_migrations(fresh_warehouse: Client, tmp_path: Path) -> None:
    applied = migrate(fresh_warehouse, REAL, database="analytics", lock_dir=tmp_path / "locks")
    assert {a.script for a in applied} == {path.name for path in REAL.glob("*.sql")}
    validate(fresh_warehouse, REAL, database="analytics")
    assert migrate(fresh_warehouse, REAL, database="analytics", lock_dir=tmp_path / "locks") == []
    assert (
        list(fresh_warehouse.query("SELECT name FROM system.databases WHERE engine != 'Memory'").result_columns[0])
        != []
    )
    uncommented = fresh_warehouse.query(
        "SELECT name FROM system.tables WHERE database = 'analytics' AND comment = ''"
        " UNION ALL SELECT table || '.' || name FROM system.columns WHERE database = 'analytics' AND comment = ''"
    )
    assert uncommented.result_rows == []


def test_statements_that_go_together_do_what_each_alone_does(fresh_warehouse: Client, migrated: Client) -> None:
    fresh_warehouse.command("CREATE DATABASE analytics")
    alone = together = 0  # of those that change tables: only they can go together
    for migration in read_migrations(REAL):
        groups = sql_rules.together(migration.statements)
        assert [statement for group in groups for statement in group] == list(migration.statements)
        alone += sum(statement.text.startswith("ALTER TABLE") for statement in migration.statements)
        together += sum(group[0].text.startswith("ALTER TABLE") for group in groups)
        for statement in migration.statements:
            fresh_warehouse.command(statement.text, settings={"database": "analytics", "mutations_sync": 1})
    assert together < alone * 0.7
    assert schema(fresh_warehouse, "analytics") == schema(migrated, "analytics")


def test_one_of_a_group_that_is_refused_is_named(warehouse: Client, folder: Path, database: str) -> None:
    names = ("a", "b", "c")
    lines = [f"ALTER TABLE bars ADD COLUMN IF NOT EXISTS {n} {'Nope' if n == 'b' else 'UInt8'};" for n in names]
    (folder / "V003__three.sql").write_text("\n".join(lines))
    with pytest.raises(MigrationRefused, match=r"V003__three\.sql:2: statement 2 of 3 failed: .*Nope"):
        migrate(warehouse, folder, database=database, lock_dir=None)
    assert [row[-1] for row in dump(warehouse, database)] == [1, 1, 0]
    (folder / "V003__three.sql").write_text("\n".join(lines).replace("Nope", "UInt16"))
    repair(warehouse, folder, database=database)
    migrate(warehouse, folder, database=database, lock_dir=None)
    kept = warehouse.query(f"SELECT name FROM system.columns WHERE database = '{database}' AND table = 'bars'")
    assert set(names) <= set(kept.result_columns[0])


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_the_projects_migrations_survive_an_end_after_any_statement(fresh_warehouse: Client, every: int) -> None:
    """Ended after the first statement, again after the second, and so on: each rerun repeats what its file had done.

    Statements that go to the server as one end as one.
    """
    events: list[Event] = []
    migrate(fresh_warehouse, REAL, database="analytics", lock_dir=None, on_event=events.append)
    expected = schema(fresh_warehouse, "analytics")
    fresh_warehouse.command("DROP DATABASE analytics SYNC")
    ran = [event for event in events if event.kind == "ran"]
    for end in ran[::every]:

        def stop(event: Event, end: Event = end) -> None:
            if event == end:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            migrate(fresh_warehouse, REAL, database="analytics", lock_dir=None, on_event=stop)
    migrate(fresh_warehouse, REAL, database="analytics", lock_dir=None)
    assert schema(fresh_warehouse, "analytics") == expected
    validate(fresh_warehouse, REAL, database="analytics")
