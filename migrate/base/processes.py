"""Processes in the names of what they are writing, by which others can tell whether they still run."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

#: A process as `process_name` writes it: machine, start of the machine, start of the process, id. Version 0.1.0 wrote
#: neither start.
PROCESS = r"(?P<host>[A-Za-z0-9_]*)-(?:(?P<boot>[0-9a-f]{8})\.(?P<began>[0-9]{1,20})\.)?(?P<pid>[0-9]{1,10})"

#: Seconds without a change after which something is abandoned that may belong to a process of another machine, or of
#: another container of this one, which holds a lock as soon as it has made its folder.
_WEEK, _MINUTE = 7 * 24 * 3600.0, 60.0


def process_name() -> str:
    """This process, fit for the name of a file: folders are shared, process ids are not, and are used again."""
    return f"{host()}-{_boot()}.{_began(os.getpid()) or 0}.{os.getpid()}"


def host() -> str:
    """The name of this machine, fit for the name of a file."""
    return re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:40]


@cache
def _boot() -> str:
    """Tells this start of the machine from the others, the same in all of its containers; zeros where nobody says."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    return "0" * 8


def _began(pid: int) -> int | None:
    """When a process of this machine began, in ticks; None where nobody says."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return None


def is_abandoned(path: Path, process: re.Match[str]) -> bool:
    """Will nobody go on with a file or folder?

    Args:
        path: the file or folder.
        process: who was writing it, matched by PROCESS.
    """
    here = process["host"] == host()
    same_start = process["boot"] in (None, _boot())
    if here and same_start:
        return not _runs(process) and not _is_locked(path)
    locked_by = _is_locked(path)
    if locked_by:
        return False
    if here:  # the machine was started anew
        return True
    if locked_by is False and process["boot"] == _boot():
        return _unchanged(path) > _MINUTE
    return _unchanged(path) > _WEEK


def _runs(process: re.Match[str]) -> bool:
    pid = int(process["pid"])
    began = _began(pid)
    another = began is not None and process["began"] not in (None, "0", str(began))
    return is_alive(pid) and not another


def is_alive(pid: int) -> bool:
    """Does a process of this machine run? A dead one that nobody has waited for does not."""
    if os.name != "posix":
        return True  # there, a signal of 0 ends the process
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return True


def _unchanged(path: Path) -> float:
    """Seconds since something changed in a file or folder; 0 where that can't be told."""
    try:
        last = max(os.lstat(each).st_mtime for each in (path, *path.rglob("*")))
    except OSError:
        return 0.0
    return time.time() - last


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Shows other containers, in which this process has another id, that somebody works in a folder."""
    descriptor = _lock(folder)
    try:
        yield
    finally:
        if descriptor is not None and descriptor >= 0:
            os.close(descriptor)


def _is_locked(path: Path) -> bool | None:
    """Does another process hold the lock of a folder? None where that can't be told, as of a file."""
    descriptor = _lock(path) if path.is_dir() else None
    if descriptor is None:
        return None
    if descriptor >= 0:
        os.close(descriptor)
    return descriptor < 0


def _lock(folder: Path) -> int | None:
    """An open folder that is locked; -1 if another process holds it; None where folders can't be locked."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return -1
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
