"""What a child process does: it gives up all that it could change, runs one function, and says what that found."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NoReturn

import torch

from ..base.confinement import confine
from .check import Finding, check
from .examples import Example


def answer(sender: int, work: Callable[[], Finding]) -> NoReturn:
    """Runs `work` with nothing left that it could change, writes what it found, and ends the process.

    Args:
        sender: where to write.
        work: what to run.
    """
    found: list[Finding] = []
    try:
        parent = os.getppid()
        gc.disable()  # it would touch, and so copy, the memory that a fork shares
        _let_go_of_files(sender)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _bound_memory()
        confine("generated source")
        # a thread of its own: those of OpenMP that the first thread of a fork waits for do not exist in it
        thread = threading.Thread(target=_work, args=(work, found), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(1.0)
            if os.getppid() != parent:
                os._exit(1)  # there is nobody to answer to
        if found:
            said = memoryview(json.dumps(asdict(found[0])).encode())
            while said:
                said = said[os.write(sender, said) :]
    finally:
        os._exit(0 if found else 1)


def _work(work: Callable[[], Finding], found: list[Finding]) -> None:
    found.append(work())


def _let_go_of_files(keep: int) -> None:
    """A fork has the files of its parent: locks would be held for a parent that was killed."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        if number != keep:
            os.dup2(nothing, number)
    if sys.platform == "linux":  # elsewhere the child is no fork
        os.closerange(3, keep)
        os.closerange(max(3, keep + 1), 1 << 20)


def _bound_memory() -> None:
    """No more is taken than the machine has left."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(OSError, ValueError, KeyError):
        machine, own = _kilobytes("/proc/meminfo"), _kilobytes("/proc/self/status")
        most = (own["VmData"] + machine["MemAvailable"] + machine["SwapFree"]) << 10
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if soft == resource.RLIM_INFINITY or most < soft:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _kilobytes(file: str) -> dict[str, int]:
    return {name: int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", Path(file).read_text(), re.MULTILINE)}


def main() -> NoReturn:
    """What a new process runs: the check of the file that its first argument names, its answer on standard output."""
    given = torch.load(sys.argv[1], weights_only=True)
    torch.set_num_threads(given["threads"])
    examples = [Example(value, output) for value, output in given["examples"]]
    answer(1, partial(check, given["text"], given["state"], examples))
