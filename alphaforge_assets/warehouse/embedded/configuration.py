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

# A setting that holds text may hold SQL (`filter`), a path (`input_format_record_errors_file_path`), an address
# (`format_avro_schema_registry_url`), a format that overrides the one looked at (`input_format`) or another language:
# ways around every look at the statement itself. So no client may change one of them but these, which were looked at:
# representations of values, names of columns, indices and codecs, labels. A test asks the engine which it has.
TEXT_SETTINGS = frozenset(
    (
        *("log_comment", QUERY_ID_SETTING, "insert_deduplication_token", "workload", "database", "compatibility"),
        *("bool_true_representation", "bool_false_representation", "format_csv_null_representation"),
        *("format_tsv_null_representation", "format_regexp", "format_json_object_each_row_column_for_object_name"),
        *("format_custom_field_delimiter", "format_custom_result_after_delimiter"),
        *("format_custom_result_before_delimiter", "format_custom_row_after_delimiter"),
        *("format_custom_row_before_delimiter", "format_custom_row_between_delimiter"),
        *("format_template_resultset_format", "format_template_row_format", "format_template_rows_between_delimiter"),
        *("input_format_mysql_dump_table_name", "output_format_sql_insert_table_name"),
        *("output_format_avro_codec", "output_format_avro_string_column_pattern", "output_format_pretty_grid_charset"),
        *("count_distinct_implementation", "exclude_materialize_skip_indexes_on_insert"),
        *("force_data_skipping_indices", "ignore_data_skipping_indices", "force_optimize_projection_name"),
        *("preferred_optimize_projection_name", "errors_output_format", "network_compression_method"),
        *("local_filesystem_read_method", "remote_filesystem_read_method", "temporary_files_codec"),
        *("send_logs_source_regexp", "trace_profile_events_list", "chdb_client_name", "function_implementation"),
    )
)
CONSTANT_SETTINGS = (
    *("additional_result_filter", "additional_table_filters", "select", "filter", "order", "sort"),
    *("format", "input_format", "output_format", "default_format", "framing_output_format", "compression"),
    *("format_schema", "format_schema_source", "format_schema_message_name", "output_format_schema"),
    *("format_template_resultset", "format_template_row", "input_format_record_errors_file_path"),
    *("rename_files_after_processing", "column_names_for_schema_inference", "schema_inference_hints"),
    *("format_avro_schema_registry_url", "output_format_avro_confluent_subject", "url_base", "s3_base"),
    *("s3_upload_checksum_algorithm", "s3queue_default_zookeeper_path", "stream_like_engine_insert_queue"),
    *("ai_function_embedding_default_credentials", "ai_function_text_default_credentials"),
    *("cluster_for_parallel_replicas", "parallel_replicas_custom_key", "distributed_plan_force_exchange_kind"),
    *("distributed_cache_client_id", "distributed_cache_file_cache_name", "filesystem_cache_name"),
    *("dialect", "polyglot_dialect", "promql_database", "promql_table", "implicit_table_at_top_level"),
    *("input_format_orc_reader_time_zone_name", "output_format_orc_writer_time_zone_name"),
    *("output_format_image_terminal_mode", "http_response_headers", "iceberg_metadata_compression_method"),
    *("metrics_perf_events_list", "default_view_definer", "allow_introspection_functions"),
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
