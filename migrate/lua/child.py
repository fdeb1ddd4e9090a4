"""The process in which an author's Lua runs; `sandbox` starts it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from ..base.confinement import confine
from ..base.errors import T7Error
from ..t7 import LuaTable, Value
from ..t7.writing.dump import dump
from .building import build
from .callers import NoCall
from .folders import Folders
from .layers.answer import answer_layer
from .layers.kept.serving import KeptLayer
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
    bound(limits, kept=job.get("layer") == "keep")
    if job.get("layer") == "keep":
        keep(job, limits, given, sys.stdin.buffer, output)
        return
    said, result = answer(job, limits, given)
    write_answer(output, said, result)


def bound(limits: LuaLimits, *, kept: bool = False) -> None:
    """Gives up what the process does not need, once everything is imported.

    Args:
        limits: what it may use.
        kept: it answers several times, and gets its processor time for each answer.
    """
    confine("an author's Lua")
    try:
        import resource
    except ImportError:  # Windows: the process that started this one still watches the time
        return
    most = resource.RLIM_INFINITY if kept else limits.cpu_seconds + 20
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds + 10, most))
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + limits.memory_bytes,) * 2)


def keep(job: dict[str, Any], limits: LuaLimits, given: bytes, requests: IO[bytes], output: IO[bytes]) -> None:
    """Keeps the objects of a layer, and answers until nothing more is asked for."""
    kept: KeptLayer | None = None

    def begin() -> tuple[dict[str, Any], Value]:
        nonlocal kept
        kept = KeptLayer(job, Folders(job["folders"], limits.file_bytes), limits, given)
        return kept.described()

    said, result = _answered(begin)
    write_answer(output, said, result)
    while kept is not None:
        try:
            request, numbers = read_job(requests)
        except EOFError:
            return
        allow_more(limits)
        said, result = _answered(partial(kept.answer, request, numbers))
        write_answer(output, said, result)


def allow_more(limits: LuaLimits) -> None:
    """Gives each answer the processor time that limits allow."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + limits.cpu_seconds + 10, hard))


def answer(job: dict[str, Any], limits: LuaLimits, given: bytes = b"") -> tuple[dict[str, Any], bytes]:
    """Runs a job; what is said of it, and the result as a `.t7`."""
    folders = Folders(job["folders"], limits.file_bytes, job.get("torch7_source"))
    if "witness" in job:
        return _answered(partial(answer_witness, job, folders, limits, given))
    if "layer" in job:
        return _answered(partial(answer_layer, job, folders, limits, given))
    return _answered(partial(build, job, folders, limits))


def _answered(work: Callable[[], tuple[dict[str, Any], Value]]) -> tuple[dict[str, Any], bytes]:
    """What a piece of work says and gives, or how it failed."""
    try:
        said, value = work()
    except (LuaStopped, CantLeave) as error:
        return {"error": str(error)}, b""
    except NoCall as missing:
        return {"calls": missing.calls, "ways": missing.ways, "unknown": missing.unknown}, b""
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
