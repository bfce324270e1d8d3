"""Migration files: their names, versions and checksums, as Flyway reads them. Pure but for reading the folder.

Stricter than Flyway, which silently skips a misnamed file and runs what it cannot repeat: here both are errors.
Facts: Flyway 13 (MigrationVersion, ChecksumCalculator, ResourceNameParser), measured against its compiled classes.
"""

import re
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alphaforge_assets.errors import BadInput
from alphaforge_assets.warehouse.migrations import sql_rules
from alphaforge_assets.warehouse.migrations.sql_rules import Statement

# What ClickHouse itself accepts as one statement (max_query_size), and far more than a reviewable migration.
FILE_BYTES_MAX = 262_144
DESCRIPTION_CHARACTERS_MAX = 200

_DESCRIPTION = r"(?P<description>[A-Za-z0-9]+(?:[_.-]+[A-Za-z0-9]+)*)"
_VERSIONED = re.compile(rf"V(?P<version>[0-9]+(?:[._][0-9]+)*)__{_DESCRIPTION}\.sql")
_REPEATABLE = re.compile(rf"R__{_DESCRIPTION}\.sql")
_RIGHT_FORM = "name it V<number>__<what_it_does>.sql to run once, or R__<view_name>.sql to run whenever it changes"

VersionKey = tuple[int, ...]


@dataclass(frozen=True)
class Migration:
    """One file. `version` is as Flyway stores it ("001"), or None if repeatable; `checksum` is signed, 32 bits."""

    path: Path
    version: str | None
    description: str
    checksum: int
    statements: tuple[Statement, ...]

    @property
    def script(self) -> str:
        """The file's name, as the history's `script`."""
        return self.path.name

    @cached_property
    def key(self) -> VersionKey | None:
        """The version as compared; None means repeatable."""
        return None if self.version is None else version_key(self.version)


def version_key(version: str) -> VersionKey:
    """What versions are compared by: 1 = 1.0 = 001, and 1.10 follows 1.9.

    Raises ValueError for text that is not a version.
    """
    parts = [int(part) for part in version.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def checksum(raw: bytes) -> int:
    """Flyway's checksum: CRC32 over the lines' UTF-8 without their ends, signed. 0 for an empty file.

    Lines end as in Java's BufferedReader (\\n, \\r, \\r\\n and nothing else), and a leading byte order mark is dropped.
    Raises UnicodeDecodeError.
    """
    lines = re.split("\r\n|\r|\n", raw.decode("utf-8"))
    lines[0] = lines[0].removeprefix("\ufeff")
    crc = zlib.crc32("".join(lines).encode("utf-8"))
    return crc - (1 << 32) if crc >= 1 << 31 else crc


def read_migrations(folder: Path) -> list[Migration]:
    """Every migration of the folder in running order: by version, then the repeatable ones by description.

    Raises BadInput with each fault on a line of its own, as `file:line: what is wrong; how to mend it`.
    """
    if not folder.is_dir():
        raise BadInput(f"migrations folder {folder}: there is no such folder; name the one that holds V001__….sql")
    faults: list[str] = []
    migrations: list[Migration] = []
    # Dot files are what editors and file managers leave behind; one that ends in .sql was meant for us.
    for path in sorted(p for p in folder.iterdir() if not p.name.startswith(".") or p.name.lower().endswith(".sql")):
        try:
            migrations.append(_read(path))
        except BadInput as error:
            faults.append(str(error))
    first: dict[VersionKey, Migration] = {}
    for migration in migrations:
        if migration.key is not None and first.setdefault(migration.key, migration) is not migration:
            other = first[migration.key].script
            faults.append(
                f"{migration.path}:1: version {migration.version} is also that of {other}; take the next free one"
            )
    if not migrations and not faults:
        faults.append(f"migrations folder {folder}: holds no migration; name the one that holds V001__….sql")
    if faults:
        raise BadInput("\n".join(faults))
    return sorted(migrations, key=lambda m: (m.key is None, m.key or (), m.description))


def _read(path: Path) -> Migration:
    """One file. Raises BadInput with all its faults."""
    name = _VERSIONED.fullmatch(path.name) or _REPEATABLE.fullmatch(path.name)
    if not name or not path.is_file():
        raise BadInput(f"{path}:1: not a migration's name; {_RIGHT_FORM}, or move it out of the folder")
    parts = name.groupdict()
    if len(parts["description"]) > DESCRIPTION_CHARACTERS_MAX:
        raise BadInput(f"{path}:1: the description is longer than {DESCRIPTION_CHARACTERS_MAX} characters; shorten it")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}:1: {error.strerror or error}; make it readable") from error
    if len(raw) > FILE_BYTES_MAX:
        raise BadInput(f"{path}:1: {len(raw)} bytes, more than {FILE_BYTES_MAX}; divide it into several migrations")
    try:
        statements, faults = sql_rules.split(raw.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{path}:{line}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    if faults:
        raise BadInput("\n".join(f"{path}:{fault.line}: {fault.message}" for fault in faults))
    version = parts.get("version")
    return Migration(
        path=path,
        version=None if version is None else version.replace("_", "."),
        description=parts["description"].replace("_", " "),
        checksum=checksum(raw),
        statements=statements,
    )
