"""What a backup holds: the list that is written last and named by its own hash, and the files that it names.

A backup that was interrupted has no manifest, and so is none. Files are named by the SHA-256 of what is in them, and
one that an earlier backup wrote is not written again.
"""

import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import zstandard

from alphaforge_assets.backup.place import Place
from alphaforge_assets.errors import BadInput, Permanent

FORMAT = 1
FOLDER = "manifests"
FILES_AT_ONCE = 4


@dataclass(frozen=True)
class File:
    """A compressed file of a backup: its name's hash, which is of these bytes, and how many there are."""

    sha256: str
    size: int

    @property
    def path(self) -> str:
        return f"pieces/{self.sha256[:2]}/{self.sha256}.piece"


@dataclass(frozen=True)
class Piece:
    """Rows of one table: a partition, or what an instrument has in it. The hashes are of the rows, in any order."""

    table: str
    partition: str
    cut_by: str
    piece: str
    row_count: int
    hash_low: int
    hash_high: int
    file: File


@dataclass(frozen=True)
class Manifest:
    """A whole backup. `schema` is the checksum of each migration, `databases` the files of Dagster's instance."""

    format: int
    taken_at: str
    schema: dict[str, int | None]
    snapshots: dict[str, str]  # name -> content hash
    pieces: tuple[Piece, ...]
    databases: dict[str, File]  # path below the instance's folder -> its file

    @property
    def rows(self) -> int:
        return sum(p.row_count for p in self.pieces)


def write_file(place: Place, content: bytes) -> tuple[File, bool]:
    """Keep `content`; also whether it had to be written. Raises Permanent."""
    packed = zstandard.ZstdCompressor(level=3).compress(content)
    file = File(hashlib.sha256(packed).hexdigest(), len(packed))
    if place.size(file.path) == file.size:
        return file, False
    place.write(file.path, packed)
    return file, True


def read_file(place: Place, file: File) -> bytes:
    """The content of a file. Raises Permanent if it is not there or not what was written."""
    packed = place.read(file.path)
    if (wrong := _wrong(packed, file)) or packed is None:
        raise Permanent(f"backup file {file.path} {wrong}: restore another backup (--backup), or another copy of this")
    return zstandard.ZstdDecompressor().decompress(packed)


def damaged(place: Place, manifest: Manifest, on_file: Callable[[int], None] = lambda size: None) -> list[str]:
    """Which files are missing, cannot be read or are not what was written, and what of it they hold; [] if none is.

    `on_file` is told the size of each that was looked at.
    """
    holds: dict[File, list[str]] = defaultdict(list)  # equal rows of two tables are one file
    for p in manifest.pieces:
        holds[p.file].append(f"{p.table} {p.partition} {p.piece}")
    for path, file in manifest.databases.items():
        holds[file].append(path)

    def look(file: File) -> str:
        try:
            wrong = _wrong(place.read(file.path), file)
        except Permanent as error:
            wrong = f"cannot be read: {error}"
        on_file(file.size)
        return f"{file.path} ({', '.join(holds[file])}) {wrong}" if wrong else ""

    with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="verify") as pool:
        return [said for said in pool.map(look, sorted(holds, key=lambda f: f.path)) if said]


def _wrong(packed: bytes | None, file: File) -> str:
    if packed is None:
        return "is missing"
    return "" if hashlib.sha256(packed).hexdigest() == file.sha256 else "is not what was written (its hash differs)"


def write(place: Place, manifest: Manifest) -> str:
    """Make a backup of what was written. Returns its name. Raises Permanent."""
    text = json.dumps(asdict(manifest), separators=(",", ":"), sort_keys=True).encode()
    moment = dt.datetime.fromisoformat(manifest.taken_at)
    name = f"{moment:%Y%m%dT%H%M%S.%fZ}-{hashlib.sha256(text).hexdigest()}"
    place.write(f"{FOLDER}/{name}.json", text)
    return name


def names(place: Place) -> list[str]:
    """The backups of a place, the oldest first. Raises Permanent."""
    return [name.removesuffix(".json") for name in place.names(FOLDER) if name.endswith(".json")]


def read(place: Place, name: str | None = None) -> tuple[str, Manifest]:
    """A backup and its name, the latest if none is named.

    Raises BadInput if there is none of that name, Permanent if it is not what was written.
    """
    known = names(place)
    if not known or (name is not None and name not in known):
        there = f"there are {', '.join(known[-3:])}" if known else "there is no finished backup in this place"
        raise BadInput(f"backup {name or 'to restore'}: {there}; `alphaforge backup` makes one")
    name = name or known[-1]
    text = place.read(f"{FOLDER}/{name}.json")
    if text is None or hashlib.sha256(text).hexdigest() != name.rpartition("-")[2]:
        raise Permanent(f"backup {name}: its manifest is not what was written; restore another one (--backup)")
    told = json.loads(text)
    if told["format"] != FORMAT:
        raise BadInput(f"backup {name} is of format {told['format']}, this version reads {FORMAT}: use a newer one")
    pieces = tuple(Piece(**(p | {"file": File(**p["file"])})) for p in told["pieces"])
    databases = {path: File(**file) for path, file in told["databases"].items()}
    return name, Manifest(**(told | {"pieces": pieces, "databases": databases}))


def differing(wanted: Sequence[Piece], found: Sequence[Piece]) -> list[str]:
    """Which pieces do not hold the same rows, as words."""

    def held(pieces: Sequence[Piece]) -> dict[tuple[str, str, str], tuple[int, int, int]]:
        return {(p.table, p.partition, p.piece): (p.row_count, p.hash_low, p.hash_high) for p in pieces}

    one, other = held(wanted), held(found)
    return [" ".join(key) for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
