"""Names of what is being written beside its place, by which the next run there knows what a killed one left."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Ends of the names: a file that is written, a folder that is written, a folder that is being replaced.
FILE, FOLDER, REPLACED = ".part", ".new", ".old"

_NAME = re.compile(r"\..*\.torchmigrate-([0-9a-f]{10})-([A-Za-z0-9_]*)-([0-9]{1,10})-[0-9a-f]{8}(\.part|\.new|\.old)")


def host() -> str:
    """The name of this machine, fit for the name of a file: folders are shared, process ids are not."""
    return re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:40]


def unfinished_path(target: Path, ending: str, folder: Path | None = None) -> Path:
    """Where something is written before it takes its place; its name tells the place and this process.

    Args:
        target: the place.
        ending: FILE, FOLDER or REPLACED.
        folder: where to write; None: beside the place.
    """
    start = re.sub(r"[^\w.+-]", "_", target.name, flags=re.ASCII)[:40]
    name = f".{start}.torchmigrate-{_digest(target)}-{host()}-{os.getpid()}-{secrets.token_hex(4)}{ending}"
    return (target.parent if folder is None else folder) / name


def _digest(target: Path) -> str:
    return hashlib.blake2b(os.fsencode(target.name), digest_size=5).hexdigest()


def left_behind(folder: Path, target: Path | None = None) -> Iterator[Path]:
    """What runs of this machine that are dead left unfinished in a folder.

    Args:
        folder: where to look.
        target: only what was to take this place; None: any.
    """
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        return
    digest = None if target is None else _digest(target)
    for name in entries:
        found = _NAME.fullmatch(name)
        if found is None or found[2] != host() or (digest is not None and found[1] != digest):
            continue
        if not is_alive(int(found[3])) and not _is_locked(folder / name):
            yield folder / name


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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Shows other containers, in which this process has another id, that somebody works in a folder."""
    descriptor = _lock(folder)
    try:
        yield
    finally:
        if descriptor is not None and descriptor >= 0:
            os.close(descriptor)


def _is_locked(path: Path) -> bool:
    if not path.is_dir():
        return False
    descriptor = _lock(path)
    if descriptor is None:
        return False
    held = descriptor < 0
    if not held:
        os.close(descriptor)
    return held


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
