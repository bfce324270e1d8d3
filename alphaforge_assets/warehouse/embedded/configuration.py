"""The engine's configuration, as the two XML files ClickHouse reads: its memory, its logs, and what a client may do.

The privileges are the engine's own, so that nothing here has to guess what a statement reaches: no grant on FILE, URL,
S3, REMOTE and the like means that no table function, table engine, database engine, dictionary or backup of those kinds
works, however it is spelled. `statements.py` refuses the few things that privileges do not cover.
"""

import os
import uuid
from pathlib import Path
from xml.sax.saxutils import escape

# Carries our query id into system.processes, so that a query can be killed: chdb names its queries itself. Any text
# setting without an effect would do; log_comment is the client's, and the embedded engine knows no custom settings.
QUERY_ID_SETTING = "query_cache_tag"

GRANTS = (
    "SHOW, SHOW ROW POLICIES, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, "
    "CREATE TEMPORARY TABLE, CREATE ARBITRARY TEMPORARY TABLE, DROP DATABASE, DROP TABLE, DROP VIEW, UNDROP TABLE, "
    "TRUNCATE, OPTIMIZE, KILL QUERY, dictGet, SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM FLUSH LOGS, SYSTEM DROP CACHE, "
    "SYSTEM VIEWS"
)

# Settings whose value is SQL, a path or another language: a way around every look at the statement itself.
CONSTANT_SETTINGS = (
    "additional_result_filter",
    "additional_table_filters",
    "allow_introspection_functions",
    "dialect",
    "format_schema",
    "format_template_resultset",
    "format_template_row",
    "output_format_schema",
    "parallel_replicas_custom_key",
    "schema_inference_hints",
)

# chdb makes its first database an overlay over the whole file system, in which `/etc/passwd` is a table. We give that
# one a name of its own and drop it at the start, and make `default` the ordinary database it is on a server.
OVERLAY_DATABASE = "overlay"

LOG_DAYS = 3  # how long system.query_log and system.part_log keep a row


def memory_bytes_max() -> int:
    """Half of the machine's memory, or of the control group's limit where that is less; at least 512 MiB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(name).read_text()))
        except (OSError, ValueError):  # no control group, or "max"
            continue
    return max(total // 2, 512 << 20)


def prepare_default_database(data: Path) -> None:
    """Have the engine find an ordinary `default` database at its first start, in ClickHouse's own metadata format."""
    metadata = data / "metadata" / "default.sql"
    link = metadata.with_suffix("")
    if link.is_symlink():  # the overlay would take it for its own; the engine makes it again when it loads `default`
        link.unlink()
    if not metadata.exists():
        metadata.parent.mkdir(parents=True, exist_ok=True)
        temporary = metadata.with_suffix(".tmp")
        temporary.write_text(f"ATTACH DATABASE _ UUID '{uuid.uuid4()}'\nENGINE = Atomic\n")
        temporary.rename(metadata)


def write(folder: Path, memory_bytes: int) -> Path:
    """Write both files into `folder`; the path of the main one, for chdb's `config-file`."""
    users = folder / "users.xml"
    constants = "".join(f"<{name}><const/></{name}>" for name in CONSTANT_SETTINGS)
    users.write_text(
        "<clickhouse><profiles><default>"
        f"<constraints>{constants}</constraints></default></profiles>"
        "<quotas><default/></quotas><users><default><password/><networks><ip>127.0.0.1</ip><ip>::1</ip></networks>"
        "<profile>default</profile><quota>default</quota>"
        f"<grants><query>GRANT {GRANTS} ON *.*</query></grants></default></users></clickhouse>\n"
    )
    logs = "".join(
        f"<{log}><database>system</database><table>{log}</table><partition_by>event_date</partition_by>"
        f"<ttl>event_date + INTERVAL {LOG_DAYS} DAY DELETE</ttl>"
        f"<flush_interval_milliseconds>7500</flush_interval_milliseconds></{log}>"
        for log in ("query_log", "part_log")
    )
    main = folder / "engine.xml"
    main.write_text(
        f"<clickhouse><users_config>{escape(str(users))}</users_config>"
        f"<max_server_memory_usage>{memory_bytes}</max_server_memory_usage>"
        f"<default_database>{OVERLAY_DATABASE}</default_database>"
        f"<user_scripts_path>{escape(str(folder / 'no_scripts'))}/</user_scripts_path>"
        "<remote_url_allow_hosts><host>nowhere.invalid</host></remote_url_allow_hosts>"
        f"{logs}</clickhouse>\n"
    )
    return main
