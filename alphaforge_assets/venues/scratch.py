"""A folder for files under way, which goes away with its process: also with one that was killed.

Each has a lock beside it that its process holds. Whoever opens one removes those whose lock nobody holds any more. It
lies beside the rate budgets, in the state folder of whoever runs us: no system empties that, and it is no memory disk.
"""

import contextlib
import shutil
import uuid
from pathlib import Path

from filelock import FileLock, Timeout

from alphaforge_assets.errors import BadInput

FOLDER = "archive_files"


class Scratch:
    """A folder of its own at `path`, until `close`."""

    def __init__(self, state: Path) -> None:
        """Make one below `state`. Raises BadInput if that cannot be written to."""
        root = state / FOLDER
        name = uuid.uuid4().hex
        try:
            root.mkdir(parents=True, exist_ok=True)
            _sweep(root)
            self._lock = FileLock(root / f"{name}.lock")
            self._lock.acquire()  # first: a folder without a held lock is swept away
            self.path = root / name
            self.path.mkdir()
        except OSError as error:
            raise BadInput(
                f"{root}: {error.strerror or error}; files cannot be put there: free it, or move the home"
            ) from error

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()


def _sweep(root: Path) -> None:
    """Remove what processes that are dead have left."""
    for file in root.glob("*.lock"):
        lock = FileLock(file)
        with contextlib.suppress(Timeout, OSError):
            lock.acquire(timeout=0)
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            file.unlink(missing_ok=True)
            lock.release()
