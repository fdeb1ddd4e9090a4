"""What the reader asks of the two forms of a file, binary and ASCII."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ..faults import Fault, over
from ..limits import Limits
from ..open_objects import Frame
from ..stored_numbers import Elements
from ..values import Value

if TYPE_CHECKING:
    from ..values import Array

#: Begins the Torch object of an index: the object, and the frame that waits for what it holds.
OpenTorch = Callable[[int], tuple[Value, Frame | None]]


class Tokens(Protocol):
    """Reads tokens from a buffer, forward only; every method raises a `Fault` if what it reads is not there.

    Attributes:
        format: "binary" or "ascii".
        size: length of the file in bytes.
        pos: byte offset of the next token.
        long_size: bytes of a C long, 4 or 8.
        big_endian: do numbers begin with their highest byte?
        longs_read: did any token so far depend on `long_size`?
        smallest_object: the fewest bytes an object can take.
        data: the whole file.
    """

    format: str
    size: int
    pos: int
    long_size: int
    big_endian: bool
    longs_read: bool
    smallest_object: int
    data: bytes | mmap.mmap
    _limits: Limits

    def __init__(
        self, data: bytes | mmap.mmap, limits: Limits, long_size: int = 8, *, big_endian: bool = False
    ) -> None:
        self.data = data
        self.size = len(data)
        self.pos = 0
        self.long_size = long_size
        self.big_endian = big_endian
        self.longs_read = False
        self._limits = limits

    def at_end(self) -> bool:
        """Is there nothing left?"""

    def cut_short(self) -> bool:
        """Was the last token read as it stands at the end of the file, but may be only its first half?"""
        return False  # the halves of a token of a binary file are no tokens

    def begins_object(self) -> bool:
        """Is what comes next the tag of an object?"""

    def head(self) -> tuple[int, Value]:
        """The tag of the next object with its value, or with its index if it is one that has an index.

        Returns:
            (tag, value) for nil, numbers, strings and booleans; (tag, index) for tables, Torch objects and functions;
            (6, None) for a function without index.
        """

    def read_tables(self, stack: list[Frame], known: dict[int, Value], open_torch: OpenTorch) -> None:
        """Reads on for as long as it can do so faster than token by token (perhaps not at all).

        Args:
            stack: the objects being read; the last is a table whose next key is not read yet.
            known: everything with an index so far.
            open_torch: begins the Torch object of an index.
        """
        return

    def class_key(self) -> bytes:
        """The version and class name of an object as they stand, unchecked: equal bytes mean an equal class.

        Returns:
            b"" where they don't have their usual form, or are always read the careful way; then nothing is read.
        """
        return b""

    def integer(self, what: str) -> int:
        """A C int; `what` names it in an error."""

    def longs(self, count: int, what: str) -> tuple[int, ...]:
        """`count` C longs; `what` names them in an error."""

    def double(self, what: str) -> float:
        """A C double; `what` names it in an error."""

    def tensor(self) -> tuple[int, ...]:
        """The sizes of a tensor, then its strides, then its offset."""

    def text(self, what: str) -> bytes:
        """A string without a tag: its length and its bytes; `what` names it in an error."""
        start = self.pos
        length = self.integer(f"the length of {what}")
        if length < 0:
            raise Fault(f"{what} has a length of {length}", start, hint="The file is damaged, or not a .t7 file.")
        if length > self._limits.string_bytes:
            raise over(self._limits, "string_bytes", f"{what} has {length} bytes, more than", start)
        return self.raw(length, what)

    def raw(self, count: int, what: str) -> bytes:
        """`count` bytes; `what` names them in an error."""

    def elements(self, code: str, count: int) -> Array | Elements:
        """`count` numbers of a type as numpy spells it, read-only."""
