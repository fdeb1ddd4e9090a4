"""Writes the tokens of a binary file."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from ..values import Array

_INT64 = np.dtype("<i8")


class BinaryOutput:
    """Writes tokens to a file; a ValueError says that something doesn't fit into its token."""

    def __init__(self, file: BinaryIO, long_size: int, *, big_endian: bool = False) -> None:
        self._write = file.write
        self.long_size = long_size
        self._order = ">" if big_endian else "<"
        self._int, self._double = struct.Struct(f"{self._order}i").pack, struct.Struct(f"{self._order}d").pack

    def integer(self, value: int) -> None:
        """A C int."""
        if not -(2**31) <= value < 2**31:
            raise ValueError(f"{value} is more than the 4 bytes of a C int hold")
        self._write(self._int(value))

    def longs(self, values: Sequence[int]) -> None:
        """C longs."""
        bound = 1 << (8 * self.long_size - 1)
        for value in values:
            if not -bound <= value < bound:
                raise ValueError(f"{value} is more than the {self.long_size} bytes of a C long hold")
        self._write(struct.pack(f"{self._order}{len(values)}{'i' if self.long_size == 4 else 'q'}", *values))

    def double(self, value: float) -> None:
        """A number."""
        self._write(self._double(value))

    def text(self, value: bytes) -> None:
        """A string without a tag: its length and its bytes."""
        self.integer(len(value))
        self._write(value)

    def raw(self, value: bytes) -> None:
        """Bytes."""
        self._write(value)

    def elements(self, array: Array) -> None:
        """The elements of a storage, 1-D."""
        if array.dtype == _INT64 and self.long_size == 4:
            narrow = array.astype("<i4")
            if not np.array_equal(narrow, array):
                raise ValueError("an element is more than the 4 bytes of a C long hold")
            array = narrow
        if self._order == ">":
            array = array.astype(array.dtype.newbyteorder(">"))
        if array.size:
            self._write(np.ascontiguousarray(array).view(np.uint8).data)
