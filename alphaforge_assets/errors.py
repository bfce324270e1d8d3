"""Every error AlphaForge raises on purpose, classed by one question: would running it again help?

    AlphaForgeError
    ├── BadInput              no, until the caller changes what was asked        exit 2
    ├── Transient             yes, later and unchanged                           exit 1
    │   ├── WarehouseDown         nothing answers at the warehouse's address
    │   ├── VenueUnavailable      time-out, 5xx, reset, a body that is not what it claims to be
    │   └── VenueLimited          429, 418 or the venue's own code; knows how long to wait
    └── Permanent             no, until somebody mends something                 exit 1
        ├── Occupied              a directory or port belongs to another process
        ├── WarehouseRefused      ClickHouse understood the statement and said no
        ├── MigrationRefused      the schema history and the files disagree
        ├── CoverageError         a reader asked for complete data, and there are gaps; carries them
        ├── VenueRefused          geo-block, firewall, an error that is not about load
        └── UnknownSymbol         the venue does not list the instrument

Each message names what is wrong, the value, and what to do. Nothing here does I/O.
"""

from typing import Any


class AlphaForgeError(Exception):
    """Root of the tree. `exit_code` is what the command line ends with."""

    exit_code = 1


class BadInput(AlphaForgeError):
    """The caller asked for something that cannot be; the message names field, value and fix."""

    exit_code = 2


class Transient(AlphaForgeError):
    """The same call may succeed later."""


class WarehouseDown(Transient):
    """Nothing answers at the warehouse's address."""


class VenueUnavailable(Transient):
    """The venue did not give a usable answer. `evidence` holds at most 4 kB of what it did say.

    `files` is what became of the files that should have had it, where the source is an archive.
    """

    def __init__(self, message: str, evidence: str = "", files: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.evidence = evidence[:4096]
        self.files = files


class VenueLimited(Transient):
    """The venue asks us to slow down.

    `retry_after_s`: how long, by the venue or by our own budget; None if nobody knows.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Permanent(AlphaForgeError):
    """The same call will fail again until somebody mends the cause."""


class Occupied(Permanent):
    """A directory, lock or port is held by another process, which the message names."""


class WarehouseRefused(Permanent):
    """ClickHouse refused a statement. `code` is its error code."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class MigrationRefused(Permanent):
    """The migration files and `flyway_schema_history` disagree, or a migration failed."""


class CoverageError(Permanent):
    """What was asked for is not complete. `gaps` is a frame, one row a gap, with its verdict."""

    def __init__(self, message: str, gaps: Any) -> None:
        super().__init__(message)
        self.gaps = gaps


class VenueRefused(Permanent):
    """The venue will not answer this caller or this request, however often it is asked."""


class UnknownSymbol(Permanent):
    """The venue does not list the instrument."""
