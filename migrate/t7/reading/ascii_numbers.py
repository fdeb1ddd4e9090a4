"""Reads many numbers that stand in a file as text."""

from __future__ import annotations

import mmap
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from .digits import decimals

if TYPE_CHECKING:
    from ..values import Array

#: So many bytes are read at a time: that bounds the memory, and is little enough for the caches of a processor.
_CHUNK = 1 << 17
_BLANKS = " \t\n\v\f\r"
_TOO_LONG = 400
_TOKEN = re.compile(rb"[ \t\n\v\f\r]*([^ \t\n\v\f\r]{1,%d})" % _TOO_LONG)
#: Longest text of a number that printf writes, with the space after it, rounded up.
_WIDEST = 32
_SPACE = ord(" ")
_DIGITS = b"0123456789+-"
_FLOATING = _DIGITS + b".eEnaifNAIF"
#: What C's printf never writes between numbers; a line without it has one number between two spaces.
_ODD_BLANKS = tuple(blank.encode() for blank in _BLANKS if blank != " ")


def read_numbers(data: bytes | mmap.mmap, pos: int, count: int, dtype: np.dtype[Any]) -> tuple[Array | None, int]:
    """Reads numbers that are separated by white space.

    Args:
        data: the file.
        pos: where the first number, or white space before it, begins.
        count: how many.
        dtype: of the result, little-endian.

    Returns:
        The numbers and where the last one ends; or None and where the first thing begins that is no such number, which
        is the end of the file if it ends too early.
    """
    found = np.empty(count, dtype)
    wide = np.dtype(np.int64 if dtype.kind == "i" else np.float64)
    direct = dtype if dtype.kind == "f" and dtype.itemsize > 2 else wide
    quick = direct.kind == "f"
    done = 0
    while done < count:
        # a chunk ends in front of a blank, or with the file
        end = min(pos + min(_CHUNK, _WIDEST * (count - done) + 1), len(data))
        if end < len(data):
            end = data.rfind(b" ", pos, end)
        line = data.find(b"\n", pos, end) if end > pos else -1
        end = line if line >= 0 else end
        numbers = None
        if end > pos and quick:
            text = data[pos:end]
            numbers = None if any(blank in text for blank in _ODD_BLANKS) else decimals(text)
            # all of a storage is mostly spelled alike
            quick = numbers is not None
        if end > pos and numbers is None:
            numbers = _parse(data[pos:end], direct)
        if numbers is None or done + len(numbers) > count:
            numbers, end = _parse_slowly(data, pos, min(count - done, _CHUNK >> 3), wide)
            if numbers is None:
                return None, end
        if not _narrow(numbers, found[done : done + len(numbers)]):
            return None, pos
        done += len(numbers)
        pos = end
    return found, pos


def _parse(text: bytes, dtype: np.dtype[Any]) -> Array | None:
    """The numbers of a text as printf writes it, a space before or between them; None if it is any other text."""
    # of NaN, numpy drops the sign; other blanks would let two numbers count as one
    if b"n" in text or b"N" in text or any(blank in text for blank in _ODD_BLANKS):
        return None
    spaces = int(np.count_nonzero(np.frombuffer(text, np.uint8) == _SPACE))
    expected = spaces + (text[0] != _SPACE)
    try:
        # numpy may stop where it can't read on: then it doesn't get to the last number
        numbers = np.fromstring(text + b" 1", dtype, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    return numbers[:-1] if len(numbers) == expected + 1 and not _saturated(numbers) else None


def _saturated(numbers: Array) -> bool:
    """May one of these be a number that was too large for its type?"""
    if numbers.dtype.kind == "f":
        return bool(np.isinf(numbers).any())
    bounds = np.iinfo(np.int64)
    return bool(((numbers == bounds.max) | (numbers == bounds.min)).any())


def _parse_slowly(data: bytes | mmap.mmap, pos: int, most: int, wide: np.dtype[Any]) -> tuple[Array | None, int]:
    """Up to `most` numbers, each by itself, and where the last one ends; None and where, if there is none."""
    numbers: list[Any] = []
    number, allowed = (_integer, _DIGITS) if wide.kind == "i" else (float, _FLOATING)
    while len(numbers) < most:
        match = _TOKEN.match(data, pos)
        if match is None:
            return (np.array(numbers, wide), pos) if numbers else (None, len(data))
        text = match[1]
        # Python also takes forms that C doesn't write, such as 1_0 and infinity
        if len(text) == _TOO_LONG or text.translate(None, allowed):
            return None, match.start(1)
        try:
            numbers.append(number(text))
        except (ValueError, OverflowError):
            return None, match.start(1)
        pos = match.end()
    return np.array(numbers, wide), pos


def _integer(text: bytes) -> np.int64:
    """Raises OverflowError for what doesn't fit into 64 bits."""
    return np.int64(int(text))


def _narrow(numbers: Array, target: Array) -> bool:
    """Stores numbers in an array of their own type; False if one is too large for it."""
    if target.dtype.kind == "i":
        target[:] = numbers.astype(target.dtype)
        return bool(np.array_equal(target, numbers))
    try:
        with np.errstate(over="raise"):
            target[:] = numbers
    except FloatingPointError:
        return False
    return True
