"""The kernel's fence around the serving process (Landlock): its own folder, its programs, no calls to anybody.

The rules of `statements.py` and `configuration.py` say what a client may send. This is for the case that they forgot
something: whatever the engine is talked into, it cannot open a file of the user's, write beside its folder or connect.
Needs Linux 5.13, for connections 6.7; elsewhere the rules stand alone. Numbers are those of <linux/landlock.h>.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import alphaforge_assets

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls, the same on every architecture
_VERSION_FLAG, _PATH_BENEATH, _NO_NEW_PRIVILEGES = 1, 1, 38
_EXECUTE, _WRITE, _READ, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_RIGHTS = (1 << 13) - 1  # of files, in the first version
_RIGHTS_SINCE = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # to move between folders, to truncate, to control devices
_OF_FILES = _EXECUTE | _WRITE | _READ | 1 << 14 | 1 << 15  # the others are of folders only
_NETWORK_SINCE, _NETWORK = 4, 0b11  # bind and connect by TCP
# Programs and libraries; what the engine measures of the machine; randomness.
_PROGRAMS = ("/usr", "/lib", "/lib64", "/opt", "/nix/store", "/etc/ld.so.cache")
_READ_ONLY = (*_PROGRAMS, "/proc", "/sys", "/dev/urandom", "/dev/random")


def version_of_kernel() -> int:
    """Which version of Landlock this kernel has; 0 for none, or if it was turned off."""
    version: int = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    return max(version, 0)


def confine(data: Path) -> bool:
    """Fence this process and all its threads in, for good. False where the kernel has no fence.

    To be called before any other thread is there, and after the last socket is bound. Raises OSError if the kernel
    has Landlock and refuses.
    """
    version, libc = version_of_kernel(), ctypes.CDLL(None, use_errno=True)
    if not version:
        return False
    rights = _RIGHTS | sum(right for since, right in _RIGHTS_SINCE.items() if since <= version)
    handled = struct.pack("=QQ", rights, _NETWORK) if version >= _NETWORK_SINCE else struct.pack("=Q", rights)
    ruleset = _done(libc.syscall(_CREATE_RULESET, handled, len(handled), 0))
    try:
        for path in _own(data):
            _allow(libc, ruleset, path, rights)
        for path in _programs():
            _allow(libc, ruleset, path, rights & (_EXECUTE | _READ | _READ_FOLDER))
        _allow(libc, ruleset, Path(os.devnull), rights & (_READ | _WRITE))
        _done(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _done(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _own(data: Path) -> Iterator[Path]:
    """The folder, and where links in it and in the engine's lead: somebody put a part on another disk.

    While `make coverage` measures this process, also where it writes what it measured.
    """
    yield data
    if (coverage := sys.modules.get("coverage")) and (measurement := coverage.Coverage.current()):
        yield Path(measurement.get_option("run:data_file")).absolute().parent
    for folder in (data, data / "engine"):
        if folder.is_dir():
            yield from (path.resolve() for path in folder.iterdir() if path.is_symlink() and path.exists())


def _programs() -> Iterable[Path]:
    package = Path(alphaforge_assets.__file__).parent
    paths = (Path(sys.prefix), Path(sys.base_prefix), package, *map(Path, _READ_ONLY))
    return {path.resolve() for path in paths if path.exists()}


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights &= ~0 if path.is_dir() else _OF_FILES
        _done(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, file), 0))
    finally:
        os.close(file)


def _done(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
