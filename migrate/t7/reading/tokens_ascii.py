"""The tokens of an ASCII file: numbers as text, each group of them on a line; strings and bytes as they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..faults import Fault, check_dimensions, too_short
from ..keys import text_or_bytes
from ..open_objects import CLASSES
from ..tags import BOOLEAN, FUNCTION_WITHOUT_INDEX, NIL, NUMBER, STRING
from ..values import Value
from .diagnosis import explain_tag
from .tokens import Tokens

if TYPE_CHECKING:
    from ..values import Array

# C's scanf skips white space before a number, and Torch7 takes one newline after each group of numbers.
_TOO_LONG = 400
_TOKEN = re.compile(rb"[ \t\n\v\f\r]*([^ \t\n\v\f\r]{1,%d})" % _TOO_LONG)
_BLANKS = b" \t\n\v\f\r"
_BLANK = re.compile(rb"[ \t\n\v\f\r]*")
_INTEGER = re.compile(rb"[+-]?[0-9]{1,19}\Z")
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?\Z|[+-]?(?:nan|inf)\Z", re.IGNORECASE)
#: Longest text of a number that printf writes, with the space after it, rounded up.
_WIDEST = 32


class AsciiTokens(Tokens):
    """Reads tokens from a buffer, forward only (see `Tokens`)."""

    format = "ascii"
    smallest_object = 2

    def at_end(self) -> bool:
        """Is there nothing left but white space?"""
        match = _BLANK.match(self.data, self.pos)
        return match is not None and match.end() >= self.size

    def cut_short(self) -> bool:
        """May the last token be the first half of a number? Torch7 ends a file with a newline."""
        return self.pos >= self.size and self.data[-1:] not in _BLANKS

    def begins_object(self) -> bool:
        match = _TOKEN.match(self.data, self.pos)
        return match is not None and len(match[1]) == 1 and match[1] in b"012345678"

    def head(self) -> tuple[int, Value]:
        start = self.pos
        tag = self.integer("an object")
        if tag in CLASSES:
            return tag, self.integer("the index of an object")
        if tag == STRING:
            return STRING, text_or_bytes(self.text("a string"))
        if tag == NUMBER:
            return NUMBER, self.double("a number")
        if tag == BOOLEAN:
            value = self.integer("a boolean")
            if value not in (0, 1):
                raise Fault(f"a boolean is 0 or 1, but this one is {value}", start, hint="The file is damaged.")
            return BOOLEAN, value == 1
        if tag in (NIL, FUNCTION_WITHOUT_INDEX):
            return tag, None
        message, hint = explain_tag(tag)
        raise Fault(message, start, hint=hint)

    def integer(self, what: str) -> int:
        return self._integers(1, what, 32)[0]

    def longs(self, count: int, what: str) -> tuple[int, ...]:
        return tuple(self._integers(count, what, 64))

    def tensor(self) -> tuple[int, ...]:
        start = self.pos
        dimensions = self.integer("the number of dimensions of a tensor")
        check_dimensions(dimensions, self._limits, start)
        size = self.longs(dimensions, "the size of a tensor")
        stride = self.longs(dimensions, "the stride of a tensor")
        return size + stride + self.longs(1, "the offset of a tensor")

    def raw(self, count: int, what: str) -> bytes:
        """`count` bytes and the newline after them; `what` names them in an error."""
        pos = self.pos
        end = pos + count
        if end > self.size:
            raise self._short(what, f"{count} bytes long, ", pos, end - self.size)
        self.pos = end
        if count:
            self._newline()
        return self.data[pos:end]

    def elements(self, code: str, count: int) -> Array:
        """`count` numbers, read-only."""
        import numpy as np

        from .ascii_numbers import read_numbers

        what = f"a storage of {count} elements"
        if code[-1] == "1":
            return np.frombuffer(self.raw(count, what), code)
        # each takes a digit and a separator, but for the last one
        missing = self.pos + 2 * count - 1 - self.size
        if missing > 0:
            raise self._short(what, f"at least {2 * count - 1} bytes long, ", self.pos, missing)
        array, end = read_numbers(self.data, self.pos, count, np.dtype(code))
        if array is None:
            bad = self.data[end : end + 40].split(None, 1)[:1]
            if not bad or end + len(bad[0]) >= self.size:
                raise self._short(what, "", self.pos, None)
            raise Fault(
                f"{what} has an element that is no {np.dtype(code)}: {bad[0]!r}", end, hint="The file is damaged."
            )
        self.pos = end
        if count:
            self._newline()
        array.flags.writeable = False
        return array

    def double(self, what: str) -> float:
        """A double; `what` names it in an error."""
        start = self.pos
        (text,) = self._texts(1, what)
        if _NUMBER.match(text) is None:
            raise Fault(f"{text[:40]!r} is not a number", start, hint="The file is damaged.")
        return float(text)

    def _integers(self, count: int, what: str, bits: int) -> list[int]:
        """`count` whole numbers of so many bits."""
        start = self.pos
        bound = 1 << (bits - 1)
        numbers = []
        for text in self._texts(count, what):
            if _INTEGER.match(text) is None:
                raise Fault(
                    f"{what} should be a whole number, but is {text[:40]!r}", start, hint="The file is damaged."
                )
            number = int(text)
            if not -bound <= number < bound:
                raise Fault(f"{what} is {number}, more than {bits} bits hold", start, hint="The file is damaged.")
            numbers.append(number)
        return numbers

    def _texts(self, count: int, what: str) -> list[bytes]:
        """The texts of `count` numbers, and the newline after them."""
        if not count:
            return []
        data, pos = self.data, self.pos
        if count > 1:
            # all on one line, as Torch7 writes them
            end = data.find(b"\n", pos, pos + _WIDEST * count)
            texts = data[pos:end].split() if end >= 0 else []
            if len(texts) == count:
                self.pos = end + 1
                return texts
        texts = []
        for _ in range(count):
            match = _TOKEN.match(data, pos)
            if match is None:
                raise self._short(what, "", self.pos, None)
            text = match[1]
            if len(text) == _TOO_LONG:
                raise Fault(f"{what} begins with {text[:40]!r} and does not end", pos, hint="The file is damaged.")
            texts.append(text)
            pos = match.end()
        self.pos = pos
        self._newline()
        return texts

    def _newline(self) -> None:
        if self.data[self.pos : self.pos + 1] == b"\n":
            self.pos += 1

    def _short(self, what: str, extent: str, offset: int, missing: int | None) -> Fault:
        """The fault of something that goes beyond the end of the file, as the first half of a number also does."""
        return too_short(what, extent, offset, self.size, missing)
