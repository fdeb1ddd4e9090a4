"""The tokens of a binary file: integers, doubles, strings and arrays, usually little-endian."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from ..faults import Fault, check_dimensions, over, too_short
from ..keys import text_or_bytes
from ..limits import Limits
from ..open_objects import CLASSES, Frame, TableFrame, new_object
from ..stored_numbers import Elements
from ..tags import BOOLEAN, FUNCTION, FUNCTION_WITHOUT_INDEX, NIL, NUMBER, STRING, TABLE, TORCH
from ..values import LuaTable, Value
from .diagnosis import explain_tag
from .tokens import OpenTorch, Tokens

#: For tensors of so few dimensions there are ready-made readers of their longs.
_FEW = 8

_Unpack = Callable[[bytes | mmap.mmap, int], tuple[Any, ...]]


@cache
def _unpack(form: str) -> _Unpack:
    return struct.Struct(form).unpack_from


class BinaryTokens(Tokens):
    """Reads tokens from a buffer, forward only (see `Tokens`)."""

    format = "binary"
    smallest_object = 4

    def __init__(
        self, data: bytes | mmap.mmap, limits: Limits, long_size: int = 8, *, big_endian: bool = False
    ) -> None:
        super().__init__(data, limits, long_size, big_endian=big_endian)
        self._order = order = ">" if big_endian else "<"
        self._letter = letter = "i" if long_size == 4 else "q"
        self._int, self._two_ints, self._double = _unpack(f"{order}i"), _unpack(f"{order}ii"), _unpack(f"{order}d")
        # the record "V n" of a version below 10, with the lengths of it and of the class name
        self._version_record = _unpack(f"{order}i3si")
        # the readers of 0, 1, 2, … longs
        self._longs = [_unpack(f"{order}{count}{letter}") for count in range(2 * _FEW + 2)]
        self._few = min(_FEW, limits.dimensions)
        self._keys: dict[bytes, Value] = {}

    def at_end(self) -> bool:
        return self.pos >= self.size

    def begins_object(self) -> bool:
        return self.pos + 4 <= self.size and 0 <= self._int(self.data, self.pos)[0] <= FUNCTION

    def head(self) -> tuple[int, Value]:
        pos = self.pos
        try:
            tag, word = self._two_ints(self.data, pos)
        except struct.error:
            return self._last_head()
        if tag in CLASSES:
            self.pos = pos + 8
            return tag, word
        if tag == STRING:
            self.pos = pos + 4
            return STRING, text_or_bytes(self.text("a string"))
        if tag == NUMBER:
            try:
                (number,) = self._double(self.data, pos + 4)
            except struct.error:
                raise self._short("a number", pos + 4, 8) from None
            self.pos = pos + 12
            return NUMBER, number
        if tag == BOOLEAN:
            if word not in (0, 1):
                raise Fault(f"a boolean is 0 or 1, but this one is {word}", pos + 4, hint="The file is damaged.")
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
            raise self._short("an object", pos, 4)
        (tag,) = self._int(self.data, pos)
        if tag in CLASSES or tag in (NUMBER, STRING, BOOLEAN):
            raise self._short("an object", pos, 12 if tag == NUMBER else 8)
        return self._rare_head(tag)

    def read_tables(self, stack: list[Frame], known: dict[int, Value], open_torch: OpenTorch) -> None:
        """Reads on while what comes is usual: tables with plain keys.

        That is the bulk of a file, so this is the one place written for speed. At anything else, right or wrong, it
        stops in a state in which the careful way of reading goes on, and that finds the words for what is wrong.
        """
        data, size, pos = self.data, self.size, self.pos
        keys, string_bytes, limits = self._keys, self._limits.string_bytes, self._limits
        two_ints, integer, double = self._two_ints, self._int, self._double
        frame = stack[-1]
        assert type(frame) is TableFrame
        entries, left = frame.entries, frame.left
        try:
            while True:
                if not left:
                    stack.pop()
                    frame = stack[-1]
                    if type(frame) is not TableFrame:
                        break
                    entries, left = frame.entries, frame.left
                    if frame.key is not None:
                        # what is complete now is a key, and its value comes next
                        break
                    continue
                tag, word = two_ints(data, pos)
                if tag == STRING:
                    end = pos + 8 + word
                    if word < 0 or end > size or word > string_bytes:
                        break
                    raw = data[pos + 8 : end]
                    key = keys.get(raw)
                    if key is None:
                        key = keys[raw] = raw.decode()
                elif tag == NUMBER:
                    (key,) = double(data, pos + 4)
                    end = pos + 12
                    if key != key:
                        break
                elif tag in CLASSES and type(key := known.get(word)) in CLASSES[tag]:
                    end = pos + 8
                else:
                    break
                if key in entries:
                    break
                tag, word = two_ints(data, end)
                if tag == NUMBER:
                    (entries[key],) = double(data, end + 4)
                    pos = end + 12
                elif tag == STRING:
                    start = end + 8
                    end = start + word
                    if word < 0 or end > size or word > string_bytes:
                        break
                    entries[key] = data[start:end].decode()
                    pos = end
                elif tag == BOOLEAN and (word == 0 or word == 1):
                    entries[key] = word == 1
                    pos = end + 8
                elif tag in CLASSES and type(found := known.get(word)) in CLASSES[tag]:
                    entries[key] = found
                    pos = end + 8
                elif tag == TABLE and found is None:
                    (count,) = integer(data, end + 8)
                    if (
                        not 0 <= count <= min(limits.entries, (size - end - 12) >> 3)
                        or word < 1
                        or len(stack) > limits.depth
                        or len(known) >= limits.objects
                    ):
                        break
                    table = new_object(LuaTable)
                    table._entries = {}
                    entries[key] = known[word] = table
                    pos = end + 12
                    if count:
                        frame.left = left - 1
                        entries, left = table._entries, count
                        frame = TableFrame(entries, count)
                        stack.append(frame)
                        continue
                elif tag == TORCH and found is None:
                    # the key says where in the tree of objects an error is
                    frame.key = key
                    self.pos = end + 8
                    item, child = open_torch(word)
                    if child is not None and len(stack) > limits.depth:
                        raise over(limits, "depth", "objects are nested deeper than")
                    frame.key = None
                    pos = self.pos
                    entries[key] = item
                    if child is not None:
                        frame.left = left - 1
                        frame = child
                        stack.append(frame)
                        if type(frame) is not TableFrame:
                            break
                        entries, left = frame.entries, frame.left
                        continue
                else:
                    frame.key = key
                    pos = end
                    break
                left -= 1
        except (struct.error, UnicodeDecodeError):
            # the careful way of reading says what is wrong, or that this string is bytes
            pass
        except Fault:
            # what is whole so far can be salvaged
            if type(frame) is TableFrame:
                frame.left = left
            raise
        self.pos = pos
        if type(frame) is TableFrame:
            frame.left = left

    def class_key(self) -> bytes:
        """The version and class name of an object as they stand, unchecked."""
        pos = self.pos
        try:
            length, _, name_length = self._version_record(self.data, pos)
        except struct.error:
            return b""
        if length != 3 or not 0 <= name_length <= 256:
            return b""
        key = self.data[pos : pos + 11 + name_length]
        self.pos = pos + len(key)
        return key

    def integer(self, what: str) -> int:
        """A 4-byte integer; `what` names it in an error."""
        pos = self.pos
        try:
            (value,) = self._int(self.data, pos)
        except struct.error:
            raise self._short(what, pos, 4) from None
        self.pos = pos + 4
        return int(value)

    def double(self, what: str) -> float:
        """A double; `what` names it in an error."""
        pos = self.pos
        try:
            (value,) = self._double(self.data, pos)
        except struct.error:
            raise self._short(what, pos, 8) from None
        self.pos = pos + 8
        return float(value)

    def tensor(self) -> tuple[int, ...]:
        pos = self.pos
        self.longs_read = True
        try:
            (dimensions,) = self._int(self.data, pos)
            if 0 <= dimensions <= self._few:
                numbers: tuple[int, ...] = self._longs[2 * dimensions + 1](self.data, pos + 4)
                self.pos = pos + 4 + (2 * dimensions + 1) * self.long_size
                return numbers
        except struct.error:
            pass
        dimensions = self.integer("the number of dimensions of a tensor")
        check_dimensions(dimensions, self._limits, pos)
        return self.longs(2 * dimensions + 1, "the size, stride and offset of a tensor")

    def longs(self, count: int, what: str) -> tuple[int, ...]:
        """`count` longs; `what` names them in an error."""
        pos = self.pos
        self.longs_read = True
        end = pos + count * self.long_size
        if end > self.size:
            raise self._short(what, pos, count * self.long_size)
        self.pos = end
        if count < len(self._longs):
            return self._longs[count](self.data, pos)
        return struct.unpack_from(f"{self._order}{count}{self._letter}", self.data, pos)

    def raw(self, count: int, what: str) -> bytes:
        pos = self.pos
        end = pos + count
        if end > self.size:
            raise self._short(what, pos, count)
        self.pos = end
        return self.data[pos:end]

    def elements(self, code: str, count: int) -> Elements:
        """`count` numbers, which stay in the file until someone looks at them."""
        stored = f"{self._order}{code[1:]}" if self.big_endian and code[-1] != "1" else code
        if self.long_size == 4 and code == "<i8":
            stored = f"{self._order}i4"
        pos = self.pos
        needed = count * int(stored[-1])
        if pos + needed > self.size:
            raise self._short(f"a storage of {count} elements", pos, needed)
        self.pos = pos + needed
        return Elements(self.data, pos, count, stored, code)

    def _short(self, what: str, offset: int, needed: int) -> Fault:
        """The fault of something that goes beyond the end of the file."""
        return too_short(what, f"{needed} bytes long, ", offset, self.size, offset + needed - self.size)
