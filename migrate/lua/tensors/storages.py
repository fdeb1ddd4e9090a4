"""Storages: what `storage:name(…)` does."""

from __future__ import annotations

import math
from typing import Any

from .engine import Engine, storage_method
from .handles import LuaFault, StorageHandle, describe, is_number, whole


@storage_method("size")
def size(engine: Engine, s: StorageHandle, *_: Any) -> int:
    """`storage:size()`."""
    return len(s.value)


@storage_method("totable")
def totable(engine: Engine, s: StorageHandle, *_more: Any) -> list[float]:
    """`storage:totable()`; what is given beside it does not count, as in Torch7."""
    values: list[float] = s.value.double().tolist()
    return values


@storage_method("fill")
def fill(engine: Engine, s: StorageHandle, value: Any) -> StorageHandle:
    """`storage:fill(number)`."""
    if not is_number(value):
        raise LuaFault(f"invalid arguments: {describe(value)}; a number expected")
    s.value.fill_(value if s.value.is_floating_point() else int(value))
    return s


@storage_method("copy")
def copy(engine: Engine, s: StorageHandle, other: Any) -> StorageHandle:
    """`storage:copy(other)`."""
    if not isinstance(other, StorageHandle) or len(other.value) != len(s.value):
        raise LuaFault("size does not match")
    s.value.copy_(other.value)
    return s


@storage_method("resize")
def resize(engine: Engine, s: StorageHandle, count: Any, *_: Any) -> StorageHandle:
    """`storage:resize(count)`: what is new is fresh memory."""
    wanted, had, step = whole(count), len(s.value), s.value.element_size()
    engine.bounded([wanted])
    s.memory.resize_(wanted * step)
    s.value[had:] = engine.fresh if s.value.is_floating_point() else math.ceil(engine.fresh)
    return s


@storage_method("type")
def type_(engine: Engine, s: StorageHandle, wanted: Any = None) -> str:
    """`storage:type()`."""
    if wanted is not None and wanted != s.typename:
        raise LuaFault("conversion of a storage isn't implemented")
    return s.typename


@storage_method("tostring")
def tostring(engine: Engine, s: StorageHandle) -> str:
    """A storage as text, as Torch7 prints a LongStorage."""
    lines = [f" {value:g}" for value in s.value.double().tolist()]
    return "\n".join([*lines, f"[{s.typename} of size {len(s.value)}]", ""])


@storage_method("__get")
def get(engine: Engine, s: StorageHandle, key: Any) -> float | None:
    """`storage[i]`."""
    at = whole(key)
    if not 1 <= at <= len(s.value):
        raise LuaFault("out of bounds")
    return float(s.value[at - 1])


@storage_method("__set")
def put(engine: Engine, s: StorageHandle, key: Any, value: Any) -> None:
    """`storage[i] = number`."""
    at = whole(key)
    if not 1 <= at <= len(s.value) or not is_number(value):
        raise LuaFault("index out of range")
    s.value[at - 1] = value if s.value.is_floating_point() else int(value)


@storage_method("elementSize")
def element_size(engine: Engine, s: StorageHandle) -> int:
    """`storage:elementSize()`."""
    return s.value.element_size()
