"""Opens a file and finds out how it was written: binary or ASCII, with longs of 8 or of 4 bytes."""

from __future__ import annotations

import mmap
import os
import re
import stat
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import T7Error, UsageError
from .limits import DEFAULT_LIMITS, Limits
from .reader import Reader
from .tokens import Tokens
from .tokens_ascii import AsciiTokens
from .tokens_binary import BinaryTokens
from .values import Value

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
Data = bytes | mmap.mmap

#: How an ASCII file begins: the tag of its first object on a line (a binary one has zeros after the tag).
_ASCII = re.compile(rb"[ \t\n\v\f\r]*[0-8][ \t\n\v\f\r]")


@dataclass(frozen=True)
class T7File:
    """A file that was read to its end.

    Attributes:
        objects: the objects one after the other; almost every file has one.
        format: "binary" or "ascii".
        long_size: bytes of a C long in it, 8 or 4; None if it made no difference.
        functions: number of Lua functions; their bytecode was not run.
        size: length in bytes.
    """

    objects: tuple[Value, ...]
    format: str
    long_size: int | None
    functions: int
    size: int


def load(source: Source, *, limits: Limits = DEFAULT_LIMITS, long_size: int | None = None) -> Value:
    """The first object of a file, as `torch.load` in Lua gives it."""
    return _read(_open(source), limits, long_size, only_first=True).objects[0]


def load_file(source: Source, *, limits: Limits = DEFAULT_LIMITS, long_size: int | None = None) -> T7File:
    """All objects of a file, and how it was written."""
    return _read(_open(source), limits, long_size, only_first=False)


def _read(data: Data, limits: Limits, long_size: int | None, *, only_first: bool) -> T7File:
    if long_size not in (None, 4, 8):
        raise UsageError(f"long_size must be 4, 8 or None, not {long_size!r}")
    if _ASCII.match(data):
        return _attempt(AsciiTokens(data, limits), limits, only_first=only_first)
    furthest: T7Error | None = None
    # Nothing in the file says how long a long is. 8 wins where both would do.
    for size in (8, 4) if long_size is None else (long_size,):
        tokens = BinaryTokens(data, limits, size)
        try:
            return _attempt(tokens, limits, only_first=only_first)
        except T7Error as error:
            if furthest is None or (error.offset or 0) > (furthest.offset or 0):
                furthest = error
            if not tokens.longs_read:
                break
    assert furthest is not None
    raise furthest


def _attempt(tokens: Tokens, limits: Limits, *, only_first: bool) -> T7File:
    reader = Reader(tokens, limits)
    objects = [reader.read()]
    while not only_first and not tokens.at_end():
        objects.append(reader.read())
    long_size = tokens.long_size if tokens.longs_read else None
    return T7File(tuple(objects), tokens.format, long_size, reader.functions, tokens.size)


def _open(source: Source) -> Data:
    """The bytes of a source; a file given by its path is mapped, not read."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if not isinstance(source, (str, os.PathLike)):
        data = source.read()
        if not isinstance(data, bytes):
            raise T7Error("The file object gives text", hint="Open it in binary mode: open(path, 'rb').")
        return data
    path = os.fspath(source)
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise T7Error(f"{path} is {kind}", hint="Give the path of a .t7 file.")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            try:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):
                # some file systems can't map files
                return file.read()
    except (OSError, ValueError) as error:
        raise T7Error(f"Can't open {path}: {getattr(error, 'strerror', None) or error}") from error
