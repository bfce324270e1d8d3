"""(e) Peak memory of a backfill's command and of its warehouse: that of many instruments against that of one.

Both ought to hold what is on its way and not what was brought, so that the ratio stays near one. Needs /proc: the peak
of a process since it began is there and nowhere else (getrusage begins with that of the parent).
"""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from alphaforge_assets.sandbox import process as sandbox
from bench.ground import LIFTED, ROOT, SYMBOLS, Ground
from bench.measure import Row, Sizes

POLL_S = 0.05


def rows(sizes: Sizes, folder: Path) -> Iterator[Row]:
    if not Path("/proc/self/status").exists():
        return
    with sandbox.start(budget_scale=LIFTED) as url:
        one = peaks(Ground(folder / "one"), url, sizes.days)
        many = one if sizes.peak == 1 else peaks(Ground(folder / "many", SYMBOLS[: sizes.peak]), url, sizes.days)
    few, all_of_them = sizes.days * 1440, sizes.days * 1440 * sizes.peak
    for n, whose in enumerate(("command", "warehouse")):
        what = f"peak memory of the {whose}, {all_of_them:,} rows"
        yield Row(what, "MB", [many[n]], f"the same, {few:,} rows", [one[n]], "one round")


def peaks(ground: Ground, url: str, days: int) -> tuple[float, float]:
    """MB of the command and of the warehouse it writes to, which is ours so that it outlives the command."""
    with ground.warehouse():
        warehouse = json.loads((ground.home / "warehouse" / "server.json").read_text())["pid"]
        command = subprocess.Popen(
            ground.backfill_words(days, lifted=True), cwd=ROOT, env=ground.environment(url),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        highest = 0.0
        while command.poll() is None:
            highest = max(highest, peak(command.pid))
            time.sleep(POLL_S)
        assert command.returncode == 0, "the backfill failed"
        return highest, peak(warehouse)


def peak(pid: int) -> float:
    """The most MB that a living process ever had; 0 once it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return int(status.split("VmHWM:")[1].split()[0]) / 1000 if "VmHWM:" in status else 0.0
