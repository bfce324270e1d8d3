"""`python -m alphaforge_assets.event_log DIRECTORY`: give an instance's files the form of Dagster's own storage.

DIRECTORY is `dagster/history/runs` of a home. Nothing may run there meanwhile. The other way needs no step.
"""

import sys
from pathlib import Path

from alphaforge_assets.event_log.shards import give_back

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) == 2 else "")
    if not (folder / "index.db").is_file():
        sys.exit(__doc__)
    for path in give_back(folder):
        print(f"{path}: as Dagster's own storage has it")
