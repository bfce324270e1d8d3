"""(f) Cold starts: how long a command takes that does next to nothing, and `up` until it says where everything is."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.ground import SCRIPT, Ground, run
from bench.measure import Row, Sizes, in_turns

READY = "Ctrl-C"  # of the last line that `up` says
READY_S_MAX = 240.0


def rows(sizes: Sizes, folder: Path) -> Iterator[Row]:
    ground = Ground(folder)
    with ground.warehouse():
        pass  # it exists; each command starts it anew
    environment = ground.environment()
    floors = {"empty": "pass", "pandas": "import pandas", "webserver": "import dagster_webserver.app"}
    work = {name: lambda code=code: run([sys.executable, "-c", code]) for name, code in floors.items()}
    work |= {name: lambda name=name: run([str(SCRIPT), name], environment) for name in ("--help", "status")}
    samples = in_turns(sizes.rounds, work)
    ups = [up(ground, environment) for _ in range(sizes.rounds)]
    yield Row("alphaforge --help", "s", samples["--help"], "python -c pass", samples["empty"])
    yield Row("alphaforge status, warehouse not running", "s", samples["status"], "import pandas", samples["pandas"])
    yield Row("alphaforge up, until all is there", "s", ups, "import dagster_webserver", samples["webserver"])


def up(ground: Ground, environment: dict[str, str]) -> float:
    """Seconds until `up` is ready. It is then ended."""
    words = [str(SCRIPT), "up", "--venues", "sandbox", "--port", "0", "--no-live"]
    log = ground.folder / "up.out"
    began = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        while READY not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.perf_counter() - began < READY_S_MAX, log.read_text()
            time.sleep(0.02)
        return time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
