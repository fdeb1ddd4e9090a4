"""Standard output and errors, however the terminal or the pipe behind them is: ASCII, closed, full, or nobody there."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


def prepare_streams() -> None:
    """Makes printing harmless: what an encoding lacks is written as an escape, and a reader who left is no error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would take its number, and what is printed
            with suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # workers have the same files closed
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if _is_descriptor(stream, number):
            raw = io.BufferedWriter(_Patient(number, "w", closefd=False))
            buffered = io.TextIOWrapper(raw, stream.encoding, "backslashreplace", line_buffering=stream.line_buffering)
            setattr(sys, name, buffered)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


class _Patient(io.FileIO):
    """A file whose writes never fail, so that work goes on to its exit code; a reader who left is no error at all."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes
        except OSError as error:
            self.failure = error
            return memoryview(data).nbytes


def _is_descriptor(stream: TextIO | None, number: int) -> bool:
    """Is this the stream that Python made, rather than one of a test or of a program around this one?"""
    if not isinstance(stream, io.TextIOWrapper):
        return False
    raw = getattr(stream.buffer, "raw", stream.buffer)
    try:
        return type(raw) is io.FileIO and raw.fileno() == number
    except (OSError, ValueError):
        return False


def flush_output() -> str:
    """Writes what is buffered; returns why something could not be written, or ""."""
    if sys.stdout is None or sys.stdout.closed:
        return ""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, _Patient) else None
    return "" if failure is None else failure.strerror or str(failure)
