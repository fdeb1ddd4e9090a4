"""The process in which an author's Lua runs; `sandbox` starts it."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

from ..base.errors import T7Error
from ..t7 import LuaTable
from ..t7.writing.dump import dump
from .define_job import build
from .folders import Folders
from .limits import LuaLimits
from .result import CantLeave
from .runtime import LuaStopped
from .sandbox import write_answer

#: What no operation on tensors needs: files to write, other programs, the network.
_REFUSED = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "subprocess.",
    "socket.",
    "shutil.",
    "ctypes.",
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    """Reads a job from the standard input, runs it, and writes the answer to the standard output."""
    job = json.load(sys.stdin.buffer)
    limits = LuaLimits(**job["limits"])
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    confine(limits)
    said, result = answer(job, limits)
    write_answer(output, said, result)


def confine(limits: LuaLimits) -> None:
    """Gives up what the process does not need, once everything is imported."""
    sys.addaudithook(_refuse)
    try:
        import resource
    except ImportError:  # Windows: the process that started this one still watches the time
        return
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds + 10, limits.cpu_seconds + 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + limits.memory_bytes,) * 2)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook of Python's: the second wall, behind Lua's."""
    if event.startswith(_REFUSED):
        raise PermissionError(f"{event} is closed to the process of an author's Lua")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
        raise PermissionError("an author's Lua writes no files")


def answer(job: dict[str, Any], limits: LuaLimits) -> tuple[dict[str, Any], bytes]:
    """Runs a job; what is said of it, and the result as a `.t7`."""
    folders = Folders(job["folders"], limits.file_bytes)
    try:
        said, value = build(job, folders, limits)
    except (LuaStopped, CantLeave) as error:
        return {"error": str(error)}, b""
    except MemoryError:
        return {"limit": "the Lua needs more memory than LuaLimits allow"}, b""
    except RecursionError:
        return {"error": "the result is nested too deeply"}, b""
    file = io.BytesIO()
    try:
        dump(value if value is not None else LuaTable(), file)
    except T7Error as error:
        return {"error": f"the result can't be written as a .t7: {error}"}, b""
    return said, file.getvalue()


if __name__ == "__main__":
    main()
