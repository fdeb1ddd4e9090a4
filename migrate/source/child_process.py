"""Checks generated source in a child process; only the text of its answer comes back.

On Linux the child is a fork of this process, which has the tensors and imports nothing. Elsewhere, where PyTorch does
not survive a fork, it is a new process.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from .check import Finding, check
from .examples import Calls, Example
from .in_child import answer

#: Seconds after which a child is ended, and after which one that uses no processor is taken for stuck.
_LONGEST, _STUCK = 3600.0, 30.0

_NEW = "from torchmigrate.source.in_child import main; main()"


class _Died(Exception):
    """A child ended without an answer."""


def check_apart(
    text: str, state: Mapping[str, torch.Tensor], examples: list[Example], calls: Calls | None = None
) -> Finding:
    """What `check` finds, run in a child process. That the child died is a finding too.

    Args:
        text: the source.
        state: the tensors.
        examples: inputs, and what the model gives.
        calls: what its layers gave on them, for a child that shares their memory.

    Raises:
        MemoryError: there was not enough memory.
    """
    try:
        found = _ask_fork(text, state, examples, calls) if sys.platform == "linux" else None
        if found is None:
            found = _ask_new_process(text, state, examples)
    except _Died as error:
        return Finding(f"the source could not be checked: {error}")
    if found.out_of_memory:
        raise MemoryError(found.reason)
    return found


def _ask_fork(
    text: str, state: Mapping[str, torch.Tensor], examples: list[Example], calls: Calls | None
) -> Finding | None:
    """What a fork finds; None if it died, or stands still: it may wait for what another thread held before."""
    receiver, sender = os.pipe()
    child = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of other threads
            try:
                child = os.fork()
            except OSError:
                return None
        if child == 0:
            answer(sender, partial(check, text, state, examples, calls))
        os.close(sender)
        sender = -1
        return _found(_read_answer(receiver, child))
    finally:
        os.close(receiver)
        if sender >= 0:
            os.close(sender)
        if child:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):  # somebody else waits for all children
                os.waitpid(child, 0)


def _read_answer(receiver: int, child: int) -> bytes:
    """All that a child writes until it ends, or stands still.

    Raises:
        _Died: it takes too long.
    """
    began = moved = time.monotonic()
    used = ""
    parts: list[bytes] = []
    while True:
        if select.select([receiver], [], [], 1.0)[0]:
            if not (part := os.read(receiver, 1 << 16)):
                return b"".join(parts)
            parts.append(part)
        now = time.monotonic()
        if (uses := _processor_time(child)) != used:
            used, moved = uses, now
        if now - began > _LONGEST:
            raise _Died(f"it ran longer than {_LONGEST:.0f} seconds")
        if now - moved > _STUCK:
            return b""


def _processor_time(child: int) -> str:
    with suppress(OSError):
        return " ".join(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13])
    return ""


def _ask_new_process(text: str, state: Mapping[str, torch.Tensor], examples: list[Example]) -> Finding:
    with tempfile.TemporaryDirectory(prefix="torchmigrate-") as folder:
        file = Path(folder) / "check.pt"
        torch.save(
            {
                "text": text,
                "state": dict(state),
                "examples": [[example.input, example.output] for example in examples],
                "threads": torch.get_num_threads(),
            },
            file,
        )
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            done = subprocess.run(
                [sys.executable, "-c", _NEW, str(file)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_LONGEST,
                env={**os.environ, "PYTHONPATH": paths},
            )
        except subprocess.TimeoutExpired as error:
            raise _Died(f"it ran longer than {_LONGEST:.0f} seconds") from error
        except OSError as error:
            raise _Died(f"no process could be started: {error.strerror}") from error
    if done.returncode < 0:
        raise _Died(f"the process was ended by {signal.Signals(-done.returncode).name}")
    found = _found(done.stdout)
    if found is None:
        raise _Died("the process ended without an answer")
    return found


def _found(said: bytes) -> Finding | None:
    try:
        return Finding(**json.loads(said))
    except (ValueError, TypeError):
        return None
