"""Every value of a file once, with where it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..t7 import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value
from ..t7.keys import join


@dataclass(frozen=True)
class FoundValue:
    """A value of a file.

    Attributes:
        path: keys and fields that lead to it, `model.modules.1.weight`.
        name: the last of them.
        owner: the object whose field it is (at any depth of tables); None outside of objects.
        value: the value.
    """

    path: str
    name: str
    owner: LuaObject | None
    value: Value


def everything(value: Value) -> Iterator[FoundValue]:
    """Tensors, storages, objects, tables and functions, each once, in the order of the file; without recursion."""
    seen: set[int] = set()
    stack = [FoundValue("", "", None, value)]
    while stack:
        found = stack.pop()
        item = found.value
        if not isinstance(item, (LuaTable, LuaObject, Tensor, Storage, LuaFunction)) or id(item) in seen:
            continue
        seen.add(id(item))
        yield found
        stack += reversed(list(_below(found)))


def _below(found: FoundValue) -> Iterator[FoundValue]:
    item = found.value
    if isinstance(item, LuaTable):
        for key, child in item.items():
            name = join("", key) if isinstance(key, (str, float)) else type(key).__name__
            yield FoundValue(
                join(found.path, key) if isinstance(key, (str, float)) else found.path, name, found.owner, child
            )
    elif isinstance(item, LuaObject):
        for part in item.parts:
            if not isinstance(part, LuaTable):
                yield FoundValue(found.path, found.name, item, part)
                continue
            for key, child in part.items():
                name = join("", key) if isinstance(key, (str, float)) else type(key).__name__
                yield FoundValue(f"{found.path}.{name}" if found.path else name, name, item, child)
    elif isinstance(item, LuaFunction):
        yield FoundValue(found.path, "upvalues", found.owner, item.upvalues)
