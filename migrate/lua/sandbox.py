"""Runs an author's Lua in a process of its own, with limits; its result comes back as a bounded `.t7`.

The Lua can't reach files outside of the folders that are named, the network, other programs, or Python. Beyond what Lua
itself takes away, the process has a limit of time by the clock and of the processor, of memory, and of what it returns;
it inherits no open file, no variable of the environment but those that Python needs, and can't write files or start
processes (Linux and macOS; on Windows the limits of the operating system are left out).
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import IO, Any

from ..base.errors import LimitExceeded, TorchMigrateError, UsageError
from ..t7 import Value, load
from .limits import LuaLimits

#: Variables that Python and PyTorch need to start.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP")
_HEADER = struct.Struct("<QQ")


class LuaFailed(TorchMigrateError):
    """An author's Lua ended with an error; the message is Lua's own, with its file and line.

    Attributes:
        printed: what it printed before.
    """

    exit_code = UsageError.exit_code

    def __init__(self, message: str, printed: str = "") -> None:
        self.printed = printed
        super().__init__(message)


def run(job: Mapping[str, Any], limits: LuaLimits, given: bytes = b"") -> tuple[dict[str, Any], Value]:
    """Runs a job in a process of its own.

    Args:
        job: what `child.main` takes: the folders, the file, the call.
        limits: what it may use.
        given: a `.t7` that goes with the job.

    Returns:
        What it says of the run (printed text, missing packages, …), and the result.

    Raises:
        UsageError: the extra `lua` is not installed, or its wheel has no such dialect.
        LuaFailed: the Lua ended with an error.
        LimitExceeded: it was stopped.
    """
    dialect = job.get("dialect")
    if dialect is not None and importlib.util.find_spec("lupa") and importlib.util.find_spec(f"lupa.{dialect}") is None:
        raise UsageError(f"the wheel of lupa for this system holds no {dialect}: leave --dialect (dialect=...) out")
    process = started()
    assert process.stdout is not None
    late = threading.Event()
    with stopped_when_late(process, limits, late):
        try:
            send(process, {**job, "limits": asdict(limits)}, given, last=True)
            said, result = read_answer(process.stdout, limits)
        finally:
            process.kill()
            process.stdout.close()
            code = process.wait()
    return judged(said, result, limits, late=late.is_set(), code=code)


def started() -> subprocess.Popen[bytes]:
    """A process that waits for its job, with nothing of this one's.

    Raises:
        UsageError: the extra `lua` is not installed.
    """
    if importlib.util.find_spec("lupa") is None:
        raise UsageError("To run an author's Lua, install the extra `lua`: pip install 'lupa>=2.5'")
    return subprocess.Popen(
        [sys.executable, "-P", "-m", f"{__package__}.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
    )


@contextmanager
def stopped_when_late(process: subprocess.Popen[bytes], limits: LuaLimits, late: threading.Event) -> Iterator[None]:
    """Inside the block, the process is killed when its time by the clock is over; `late` says that it was.

    The time in which it was ready to run but other processes had the processor is not counted (Linux only): how busy a
    machine is makes no layer one that is not converted.
    """
    began, others, over = time.monotonic(), _waited(process.pid), threading.Event()

    def watch() -> None:
        left = float(limits.seconds)
        while left > 0:
            if over.wait(max(left, 0.2)):
                return
            left = limits.seconds - (time.monotonic() - began) + (_waited(process.pid) - others)
        late.set()
        process.kill()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _waited(pid: int) -> float:
    """For how many seconds a process was ready to run and did not; 0.0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def send(process: subprocess.Popen[bytes], job: Mapping[str, Any], given: bytes, *, last: bool = False) -> None:
    """Writes what `read_job` reads; a process that ended meanwhile says so when its answer is read."""
    assert process.stdin is not None
    request = json.dumps(job).encode()
    try:
        process.stdin.write(_HEADER.pack(len(request), len(given)))
        process.stdin.write(request)
        process.stdin.write(given)
        process.stdin.flush()
        if last:
            process.stdin.close()
    except OSError:
        pass


def judged(
    said: dict[str, Any] | None, result: bytes | None, limits: LuaLimits, *, late: bool, code: int
) -> tuple[dict[str, Any], Value]:
    """What a process answered, or why it did not.

    Raises:
        LuaFailed: the Lua ended with an error.
        LimitExceeded: it was stopped.
    """
    if late:
        raise LimitExceeded(
            f"the Lua was stopped after {limits.seconds} s",
            hint="If it needs longer, LuaLimits.seconds allows more.",
        )
    if said is None:
        raise LimitExceeded(
            f"the process of the Lua ended by itself ({_ending(code)})",
            hint="It needs more processor time or memory than LuaLimits allow, or it failed in a way of its own.",
        )
    if "limit" in said:
        raise LimitExceeded(said["limit"])
    if "error" in said:
        raise LuaFailed(said["error"], said.get("printed", ""))
    return said, None if result is None else load(io.BytesIO(result))


def read_answer(stream: IO[bytes], limits: LuaLimits) -> tuple[dict[str, Any] | None, bytes | None]:
    """What the process writes: two lengths, a JSON text and a `.t7`; None if it ended before."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None, None
    text_size, result_size = _HEADER.unpack(header)
    if result_size > limits.result_bytes or text_size > 64 << 20:
        return {"limit": f"the result has more bytes than LuaLimits.result_bytes = {limits.result_bytes} allow"}, None
    text = stream.read(text_size)
    result = stream.read(result_size)
    if len(text) < text_size or len(result) < result_size:
        return None, None
    said: dict[str, Any] = json.loads(text)
    return said, result if result_size else None


def read_job(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """What `send` writes: the job, and the `.t7` that goes with it.

    Raises:
        EOFError: nothing more is asked for.
    """
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise EOFError
    text_size, given_size = _HEADER.unpack(header)
    job: dict[str, Any] = json.loads(stream.read(text_size))
    return job, stream.read(given_size)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def write_answer(stream: IO[bytes], said: Mapping[str, Any], result: bytes = b"") -> None:
    """Writes what `run` reads."""
    text = json.dumps(said).encode()
    stream.write(_HEADER.pack(len(text), len(result)))
    stream.write(text)
    stream.write(result)
    stream.flush()
