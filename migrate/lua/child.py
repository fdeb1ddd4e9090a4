"""The process in which an author's Lua runs; `sandbox` starts it."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from ..base.confinement import confine
from ..base.errors import T7Error
from ..t7 import LuaTable
from ..t7.writing.dump import dump
from .building import build
from .callers import NoCall
from .folders import Folders
from .layers.answer import answer_layer
from .limits import LuaLimits
from .result import CantLeave
from .runtime import LuaStopped
from .sandbox import read_job, write_answer
from .witness.answer import answer_witness


def main() -> None:
    """Reads a job from the standard input, runs it, and writes the answer to the standard output."""
    job, given = read_job(sys.stdin.buffer)
    limits = LuaLimits(**job["limits"])
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    bound(limits)
    said, result = answer(job, limits, given)
    write_answer(output, said, result)


def bound(limits: LuaLimits) -> None:
    """Gives up what the process does not need, once everything is imported."""
    confine("an author's Lua")
    try:
        import resource
    except ImportError:  # Windows: the process that started this one still watches the time
        return
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds + 10, limits.cpu_seconds + 20))
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + limits.memory_bytes,) * 2)


def answer(job: dict[str, Any], limits: LuaLimits, given: bytes = b"") -> tuple[dict[str, Any], bytes]:
    """Runs a job; what is said of it, and the result as a `.t7`."""
    folders = Folders(job["folders"], limits.file_bytes, job.get("torch7_source"))
    try:
        if "witness" in job:
            said, value = answer_witness(job, folders, limits, given)
        elif "layer" in job:
            said, value = answer_layer(job, folders, limits, given)
        else:
            said, value = build(job, folders, limits)
    except (LuaStopped, CantLeave) as error:
        return {"error": str(error)}, b""
    except NoCall as missing:
        return {"calls": missing.calls, "ways": missing.ways}, b""
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
