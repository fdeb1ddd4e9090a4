"""Gets the bytes of a file, mapped where that is possible."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO

from ...base.errors import T7Error
from ...base.messages import why_not_opened

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
Data = bytes | mmap.mmap

_CHUNK = 1 << 20
#: What is unpacked or comes from a pipe is kept in memory up to this size, and in a temporary file beyond it.
_IN_MEMORY = 1 << 24


def open_data(source: Source) -> Data:
    """The bytes of a source as they are; a file given by its path is mapped, "-" is standard input.

    Raises:
        T7Error: there is no such file, or it can't be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        return _standard_input() if path == "-" else _map(path)
    try:
        data = source.read()
    except (OSError, ValueError, AttributeError) as error:
        raise T7Error(f"Can't read from {type(source).__name__}: {error}") from error
    if not isinstance(data, bytes):
        raise T7Error("The file object gives text, not bytes", hint="Open it in binary mode: open(path, 'rb').")
    return data


def spool(pieces: Iterator[bytes]) -> Data:
    """The pieces in one; many of them in a temporary file, which goes away with its last use."""
    import tempfile

    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        size = sum(map(file.write, pieces))
        if size <= _IN_MEMORY:
            file.seek(0)
            return file.read()
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _standard_input() -> Data:
    import sys

    if sys.stdin is None:
        raise T7Error("Standard input is closed")
    read: Callable[[], bytes] = lambda: sys.stdin.buffer.read(_CHUNK)  # noqa: E731 - iter() takes a function
    try:
        return spool(iter(read, b""))
    except (OSError, ValueError, AttributeError) as error:
        raise T7Error(f"Can't read standard input: {getattr(error, 'strerror', None) or error}") from error


def _map(path: str) -> Data:
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise T7Error(f"Can't open {path}: it is {kind}", hint="Give the path of a .t7 file, or - for a pipe.")
        # a named pipe that took the place of the file just now would make open() wait
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            if os.fstat(descriptor).st_size == 0:
                return b""
            try:
                return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):
                # some file systems can't map files
                return file.read()
    except (OSError, ValueError) as error:
        raise T7Error(f"Can't open {path}: {why_not_opened(path, error)}") from error
