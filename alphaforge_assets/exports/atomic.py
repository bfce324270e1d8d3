"""A file that is there whole or not at all: what whoever writes one for a person writes to."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from alphaforge_assets.errors import BadInput


@contextlib.contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which becomes `path` when all went well. Raises BadInput where it cannot be."""
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(number)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; name a file in a folder that can be written") from error
    staged = Path(name)
    try:
        if path.is_dir():
            raise BadInput(f"{path}: is a folder; name a file")
        yield staged
        os.chmod(staged, 0o644)
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)
