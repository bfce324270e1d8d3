"""`python -m alphaforge_assets.cli.part MODULE ARGS…`: a module as a part of `alphaforge up`, not to outlive it.

`up` holds the other end of our stdin. When that closes, `up` is gone, however it went, and so are we: as after a
Ctrl-C, and by force with everything we started if that takes longer than END_S_MAX.
"""

import contextlib
import os
import runpy
import signal
import sys
import threading
import time

END_S_MAX = 10.0


def _end_with_parent(pipe: int, orphaned: threading.Event) -> None:
    while os.read(pipe, 4096):
        pass
    orphaned.set()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(END_S_MAX)
    _end_group()


def _end_group() -> None:
    """Ends the session `up` started us in, ourselves included."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Watch stdin and run the module named by the first argument as `python -m` would."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # what we start must not hold the pipe's place as its stdin
    os.close(nothing)
    orphaned = threading.Event()
    threading.Thread(target=_end_with_parent, args=(pipe, orphaned), name="parent", daemon=True).start()
    sys.argv = sys.argv[1:]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        if orphaned.is_set():
            _end_group()


if __name__ == "__main__":
    main()
