"""Writes the bytes of a binary file by hand, apart from the writer under test."""

from __future__ import annotations

import struct
from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "fixtures"


def integer(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def longs(*values: int, size: int = 8) -> bytes:
    return struct.pack(f"<{len(values)}{'q' if size == 8 else 'i'}", *values)


def text(value: str | bytes) -> bytes:
    """A string without a tag."""
    raw = value.encode() if isinstance(value, str) else value
    return integer(len(raw)) + raw


NIL = integer(0)


def number(value: float) -> bytes:
    return integer(1) + struct.pack("<d", value)


def string(value: str | bytes) -> bytes:
    return integer(2) + text(value)


def boolean(value: int) -> bytes:
    return integer(5, value)


def table(index: int, *entries: bytes, count: int | None = None) -> bytes:
    """A table of keys and values in turn."""
    return integer(3, index, len(entries) // 2 if count is None else count) + b"".join(entries)


def torch(index: int, typename: str | bytes, body: bytes, version: int | None = 1) -> bytes:
    """A Torch object; without a version record if `version` is None."""
    record = b"" if version is None else text(f"V {version}")
    return integer(4, index) + record + text(typename) + body


def storage(index: int, *values: float, kind: str = "Double", letter: str = "d", size: int = 8) -> bytes:
    elements = struct.pack(f"<{len(values)}{letter}", *values)
    return torch(index, f"torch.{kind}Storage", longs(len(values), size=size) + elements)


def tensor(
    index: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    offset: int,
    body: bytes,
    kind: str = "Double",
    size: int = 8,
) -> bytes:
    return torch(
        index,
        f"torch.{kind}Tensor",
        integer(len(shape)) + longs(*shape, size=size) + longs(*stride, size=size) + longs(offset, size=size) + body,
    )
