"""What is in the fields of an object of Lua, to tell whether they are others than they were."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

from ...t7 import LuaObject, LuaTable, Storage, Tensor, Value

#: What runs leave in an object.
_OF_RUNS = ("output", "gradInput")


def fields_of(value: Value, *, numbers: bool = False, without: Collection[str] = ()) -> Any:
    """What an object's computation may depend on, as something that can be compared.

    Args:
        value: the object.
        numbers: those in tensors as well, but for those of gradients.
        without: fields that are left out.
    """
    seen: dict[int, int] = {}

    def one(item: Value, key: Value = None) -> Any:
        if isinstance(item, Tensor):
            gathers = isinstance(key, str) and key.startswith("grad")
            return "tensor", item.type, item.size, _digest(item) if numbers and not gathers else ""
        if isinstance(item, Storage):
            return "storage", item.typename, tuple(item.data.tolist()) if len(item.data) <= 64 else len(item.data)
        if isinstance(item, (LuaObject, LuaTable)):
            if id(item) in seen:
                return "again", seen[id(item)]
            seen[id(item)] = len(seen)
            name = item.typename if isinstance(item, LuaObject) else ""
            kept = [(at, held) for at, held in item.items() if at not in _OF_RUNS and at not in without]
            return name, tuple(sorted([(one(at), one(held, at)) for at, held in kept], key=repr))
        return type(item).__name__, repr(item)

    return one(value)


def _digest(tensor: Tensor) -> str:
    return hashlib.blake2b(tensor.numpy().tobytes()).hexdigest() if tensor.storage is not None else ""
