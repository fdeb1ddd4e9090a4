"""Opens a file and finds out how it was written: binary or ASCII, with longs of 8 or of 4 bytes."""

from __future__ import annotations

import mmap
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import T7Error, UsageError
from .bodies import Body, with_standard
from .diagnosis import INCOMPLETE, diagnose
from .limits import DEFAULT_LIMITS, Limits
from .reader import Reader
from .tokens import Tokens
from .tokens_ascii import AsciiTokens
from .tokens_binary import BinaryTokens
from .values import Value

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
_Data = bytes | mmap.mmap

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


def load(
    source: Source,
    *,
    limits: Limits = DEFAULT_LIMITS,
    long_size: int | None = None,
    bodies: Mapping[str, Body] | None = None,
) -> Value:
    """The first object of a `.t7` file, as `torch.load` in Lua gives it; nothing in the file is run.

    Args:
        source: a path, the bytes of a file, or a file object opened in binary mode (read from where it stands). A file
            given by its path is mapped, not copied: its tensors are views of it, and it must not shrink while they
            live.
        limits: how much the file may ask for.
        long_size: bytes of a C long in a binary file, 8 or 4; found out by trying if None.
        bodies: how classes write themselves that have a way of their own, in addition to the known ones.

    Returns:
        None, bool, float, str (bytes where it is not UTF-8), LuaTable, LuaObject, Tensor, Storage or LuaFunction.

    Raises:
        T7Error: the file can't be read; says at which byte, where in the tree of objects, and what to do.
        UsageError: an argument is wrong.
    """
    return _read(source, limits, long_size, bodies, only_first=True).objects[0]


def load_file(
    source: Source,
    *,
    limits: Limits = DEFAULT_LIMITS,
    long_size: int | None = None,
    bodies: Mapping[str, Body] | None = None,
) -> T7File:
    """All objects of a `.t7` file, and how it was written; the file must be whole to its last byte.

    Args:
        source: as in `load`.
        limits: as in `load`.
        long_size: as in `load`.
        bodies: as in `load`.

    Raises:
        T7Error: the file can't be read.
        UsageError: an argument is wrong.
    """
    return _read(source, limits, long_size, bodies, only_first=False)


def _read(
    source: Source, limits: Limits, long_size: int | None, bodies: Mapping[str, Body] | None, *, only_first: bool
) -> T7File:
    if long_size not in (None, 4, 8):
        raise UsageError(f"long_size must be 4, 8 or None, not {long_size!r}")
    data = _open(source)
    if data[:16] == bytes(16):
        # it would read as nil
        raise T7Error("The file holds only zeros, or begins with them", offset=0, hint=INCOMPLETE)
    attempts: list[Tokens]
    if _ASCII.match(data):
        attempts = [AsciiTokens(data, limits)]
    else:
        # Nothing in the file says how long a long is. 8 wins where both would do.
        attempts = [BinaryTokens(data, limits, size) for size in ([8, 4] if long_size is None else [long_size])]
    furthest: T7Error | None = None
    reached = -1
    for tokens in attempts:
        reader = Reader(tokens, limits, with_standard(bodies))
        # a guess must be right to the end of the file
        first_will_do = only_first and tokens is attempts[0]
        objects: list[Value] = []
        try:
            while not objects or not (first_will_do or tokens.at_end()):
                objects.append(reader.read())
        except T7Error as error:
            if reader.reached > reached:
                furthest, reached = error, reader.reached
            if not tokens.longs_read:
                break
        else:
            return T7File(
                tuple(objects),
                tokens.format,
                tokens.long_size if tokens.longs_read and tokens.format == "binary" else None,
                reader.functions,
                tokens.size,
            )
    assert furthest is not None
    diagnosis = diagnose(data)
    if diagnosis is not None:
        raise T7Error(
            f"This is not a file of Torch7: it is {diagnosis.what}", offset=0, hint=diagnosis.opens
        ) from furthest
    raise furthest


def _open(source: Source) -> _Data:
    """The bytes of a source; a file given by its path is mapped."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        return _map(os.fspath(source))
    try:
        data = source.read()
    except (OSError, ValueError, AttributeError) as error:
        raise T7Error(f"Can't read from {type(source).__name__}: {error}") from error
    if not isinstance(data, bytes):
        raise T7Error("The file object gives text, not bytes", hint="Open it in binary mode: open(path, 'rb').")
    return data


def _map(path: str) -> _Data:
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise T7Error(f"Can't open {path}: it is {kind}", hint="Give the path of a .t7 file.")
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
