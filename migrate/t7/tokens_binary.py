"""The tokens of a binary file: little-endian integers, doubles, strings and arrays."""

from __future__ import annotations

import mmap
import struct
from typing import Any

import numpy as np

from .diagnosis import explain_tag
from .fault import Fault
from .tags import BOOLEAN, FUNCTION, FUNCTION_LEGACY, FUNCTION_WITHOUT_INDEX, NIL, NUMBER, STRING, TABLE, TORCH
from .values import Array, Value

_INT = struct.Struct("<i").unpack_from
_TWO_INTS = struct.Struct("<ii").unpack_from
_DOUBLE = struct.Struct("<d").unpack_from
_LONGS = {4: "i", 8: "q"}
_INDEXED = frozenset((TABLE, TORCH, FUNCTION, FUNCTION_LEGACY))
_INT64 = np.dtype("<i8")
_INT32 = np.dtype("<i4")


class BinaryTokens:
    """Reads tokens from a buffer, forward only.

    Attributes:
        data: the whole file.
        size: its length in bytes.
        pos: byte offset of the next token.
        long_size: bytes of a C long, 4 or 8.
        longs_read: did any token so far depend on `long_size`?
        smallest_object: the fewest bytes an object can take.
    """

    smallest_object = 4

    def __init__(self, data: bytes | mmap.mmap, long_size: int = 8) -> None:
        self.data = data
        self.size = len(data)
        self.pos = 0
        self.long_size = long_size
        self.longs_read = False

    def at_end(self) -> bool:
        """Is there nothing left?"""
        return self.pos >= self.size

    def head(self) -> tuple[int, Value]:
        """The tag of the next object with its value, or with its index if it is one that has an index.

        Returns:
            (tag, value) for nil, numbers, strings and booleans; (tag, index) for tables, Torch objects and functions;
            (6, None) for a function without index.
        """
        pos = self.pos
        try:
            tag, word = _TWO_INTS(self.data, pos)
        except struct.error:
            return self._last_head()
        if tag == STRING:
            start = pos + 8
            end = start + word
            if word < 0 or end > self.size:
                raise self._short("a string", pos + 4, word, start)
            self.pos = end
            raw = self.data[start:end]
            try:
                return STRING, raw.decode()
            except UnicodeDecodeError:
                return STRING, raw
        if tag == NUMBER:
            try:
                (number,) = _DOUBLE(self.data, pos + 4)
            except struct.error:
                raise self._short("a number", pos + 4, 8, pos + 4) from None
            self.pos = pos + 12
            return NUMBER, number
        if tag in _INDEXED:
            self.pos = pos + 8
            return tag, word
        if tag == BOOLEAN:
            if word not in (0, 1):
                raise Fault(f"a boolean must be 0 or 1, this one is {word}", pos + 4)
            self.pos = pos + 8
            return BOOLEAN, word == 1
        return self._rare_head(tag)

    def _rare_head(self, tag: int) -> tuple[int, Value]:
        if tag in (NIL, FUNCTION_WITHOUT_INDEX):
            self.pos += 4
            return tag, None
        message, hint = explain_tag(tag)
        raise Fault(message, self.pos, hint=hint)

    def _last_head(self) -> tuple[int, Value]:
        """The head of an object that begins less than 8 bytes before the end: only nil is that short."""
        pos = self.pos
        if pos + 4 > self.size:
            raise self._short("an object", pos, 4, pos)
        (tag,) = _INT(self.data, pos)
        if tag in _INDEXED or tag in (NUMBER, STRING, BOOLEAN):
            raise self._short("an object", pos, 12 if tag == NUMBER else 8, pos)
        return self._rare_head(tag)

    def integer(self, what: str) -> int:
        """A 4-byte integer; `what` names it in an error."""
        pos = self.pos
        try:
            (value,) = _INT(self.data, pos)
        except struct.error:
            raise self._short(what, pos, 4, pos) from None
        self.pos = pos + 4
        return int(value)

    def longs(self, count: int, what: str) -> tuple[int, ...]:
        """`count` longs; `what` names them in an error."""
        pos = self.pos
        self.longs_read = self.longs_read or count > 0
        end = pos + count * self.long_size
        if end > self.size:
            raise self._short(what, pos, count * self.long_size, pos)
        self.pos = end
        return struct.unpack_from(f"<{count}{_LONGS[self.long_size]}", self.data, pos)

    def raw(self, count: int, what: str) -> bytes:
        """`count` bytes; `what` names them in an error."""
        pos = self.pos
        end = pos + count
        if count < 0 or end > self.size:
            raise self._short(what, pos, count, pos)
        self.pos = end
        return self.data[pos:end]

    def elements(self, dtype: np.dtype[Any], count: int, what: str) -> Array:
        """`count` numbers as a read-only view of the file; a copy only where longs of 4 bytes become int64."""
        stored = _INT32 if dtype == _INT64 and self.long_size == 4 else dtype
        pos = self.pos
        end = pos + count * stored.itemsize
        if end > self.size:
            raise self._short(what, pos, count * stored.itemsize, pos)
        self.pos = end
        array = np.frombuffer(self.data, stored, count, pos)
        if stored is dtype:
            return array
        wide = array.astype(dtype)
        wide.flags.writeable = False
        return wide

    def _short(self, what: str, offset: int, needed: int, start: int) -> Fault:
        """The fault of a size that is negative or goes beyond the end of the file."""
        if needed < 0:
            return Fault(f"{what} has a length of {needed}", offset, hint="The file is damaged, or not a .t7 file.")
        missing = start + needed - self.size
        return Fault(
            f"the file ends at byte {self.size}, {missing} bytes too early: {what} of {needed} bytes begins here",
            start,
            hint="The file is cut off (an interrupted download or save?) or damaged.",
        )
