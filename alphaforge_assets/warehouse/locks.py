"""Files that one process holds while it does what two must not do at once; a process that dies lets go of them."""

from pathlib import Path

from filelock import FileLock


def publishing(folder: Path, dataset: str) -> FileLock:
    """Held while a dataset is published; `folder` is Dagster's own.

    Two that publish the same rows at the same moment would not see each other's in history, and write what is one
    version twice.
    """
    return FileLock(folder / f"publish_{dataset}.lock")
