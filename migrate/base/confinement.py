"""Closes to a child process what it does not need: files to write, other programs, the network."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

#: What Python reports before it changes something outside of the process.
_REFUSED = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "os.kill", "os.remove"),
    *("os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.utime"),
    *("shutil.", "subprocess.", "socket.", "ctypes.", "pty.", "urllib.", "webbrowser."),
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def confine(who: str) -> None:
    """From now on this process opens no file to write, starts no program and reaches no network.

    It is the second wall, behind what keeps names and programs of a file from becoming Python. Everything has to be
    imported before.

    Args:
        who: what runs in the process, for the error.
    """
    sys.dont_write_bytecode = True
    sys.addaudithook(partial(_refuse, who))
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(kind, (0, 0))


def _refuse(who: str, event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook of Python's.

    Raises:
        PermissionError: the event is refused.
    """
    if event.startswith(_REFUSED):
        raise PermissionError(f"{event} is closed to {who}")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
        raise PermissionError(f"{who} writes no files")
