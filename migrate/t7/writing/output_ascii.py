"""Writes the tokens of an ASCII file, as C's printf does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from ..values import Array

_CHUNK = 1 << 16


class AsciiOutput:
    """Writes tokens to a file; a ValueError says that something doesn't fit into its token."""

    long_size = 8

    def __init__(self, file: BinaryIO) -> None:
        self._write = file.write

    def integer(self, value: int) -> None:
        """A C int."""
        if not -(2**31) <= value < 2**31:
            raise ValueError(f"{value} is more than a C int holds")
        self._write(b"%d\n" % value)

    def longs(self, values: Sequence[int]) -> None:
        """C longs, on one line."""
        for value in values:
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"{value} is more than a C long holds")
        if values:
            self._write(" ".join(map(str, values)).encode() + b"\n")

    def double(self, value: float) -> None:
        """A number."""
        self._write(_printf("%.17g", value).encode() + b"\n")

    def text(self, value: bytes) -> None:
        """A string without a tag: its length and its bytes."""
        self.integer(len(value))
        self.raw(value)

    def raw(self, value: bytes) -> None:
        """Bytes, as they are."""
        if value:
            self._write(value + b"\n")

    def elements(self, array: Array) -> None:
        """The elements of a storage, 1-D: bytes as they are, numbers on one line."""
        if array.dtype.itemsize == 1:
            self.raw(array.tobytes())
            return
        for start in range(0, array.size, _CHUNK):
            part = array[start : start + _CHUNK]
            if part.dtype.kind == "i":
                texts = list(map(str, part.tolist()))
            else:
                form = "%.17g" if part.dtype.itemsize == 8 else "%.9g"
                numbers = part.tolist()
                texts = [form % number for number in numbers]
                for i in np.flatnonzero(np.isnan(part)).tolist():
                    texts[i] = _printf(form, math.copysign(math.nan, -1.0 if np.signbit(part[i]) else 1.0))
            self._write(" ".join(texts).encode() + (b" " if start + _CHUNK < array.size else b"\n"))


def _printf(form: str, value: float) -> str:
    """Python's formatting drops the sign of a NaN, C's doesn't."""
    text = form % value
    return "-nan" if text == "nan" and math.copysign(1.0, value) < 0 else text
