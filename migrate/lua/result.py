"""What a Lua value holds, as a `.t7` file would hold it."""

from __future__ import annotations

from typing import Any

import torch

from ..t7 import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value
from ..t7.bodies import BODIES, ONE_TABLE
from .runtime import Runtime, told
from .tensors.handles import NumberHandle, StorageHandle, TensorHandle


class CantLeave(Exception):
    """A value can't be part of a result."""


class Results:
    """Lua values as values of a `.t7` file; what is shared in Lua is shared there, also between several calls.

    Args:
        runtime: the Lua.
        copies: numbers are copied: memory that numpy has seen can't grow any more.
    """

    def __init__(self, runtime: Runtime, *, copies: bool = False) -> None:
        self._host = runtime.host
        self._copies = copies
        self._seen: dict[Any, Value] = {}
        self._storages: dict[tuple[int, str], Storage] = {}
        self._alive: list[Any] = []

    def value(self, given: Any) -> Value:
        """The value.

        Raises:
            CantLeave: it holds something that no file can hold.
        """
        made = self._leaf(given)
        if made is not _COMPOUND:
            return made
        root, stack = self._compound(given, "the result")
        while stack:
            source, table, path = stack.pop()
            keys, values, count = self._host.entries(source)
            pairs = [(keys[index], values[index]) for index in range(1, count + 1)]
            for key, held in sorted(pairs, key=self._order):
                where = f"{path}.{key}" if isinstance(key, (str, int, float)) else path
                new_key, more = self._one(key, where)
                stack += more
                new_value, more = self._one(held, where)
                stack += more
                if new_value is not None and new_key is not None:
                    table[new_key] = new_value
        return root

    def _order(self, pair: tuple[Any, Any]) -> tuple[int, float, str]:
        """Lua's own order follows addresses in memory; this one is the same in every run."""
        key, held = pair
        if isinstance(key, bool):
            return 2, float(key), ""
        if isinstance(key, (int, float)):
            return 0, float(key), ""
        if isinstance(key, str):
            return 1, 0.0, key
        number = isinstance(held, (int, float)) and not isinstance(held, bool)
        return (3, float(held), "") if number else (4, float(self._host.identity(key)), "")

    def _one(self, given: Any, path: str) -> tuple[Value, list[Any]]:
        made = self._leaf(given, path)
        return (made, []) if made is not _COMPOUND else self._compound(given, path)

    def _leaf(self, given: Any, path: str = "the result") -> Value:
        if given is None or isinstance(given, bool):
            return given
        if isinstance(given, (int, float)):
            return float(given)
        if isinstance(given, str):
            raw = given.encode("latin-1")
            try:
                return raw.decode("utf-8")
            except UnicodeDecodeError:
                return raw
        kind = self._host.kind(given)
        kind, held = kind if isinstance(kind, tuple) else (kind, None)
        if isinstance(held, NumberHandle):  # of a criterion that was run; what else it may be is not known here
            if path.endswith(".output"):
                return 0.0
            raise CantLeave(f"{path} is a number that comes from tensors")
        if kind == "tensor":
            return self._numbers(held)
        if kind == "function":
            return LuaFunction(b"", None)
        if kind in ("table", "object"):
            return _COMPOUND
        if kind == "absent":
            label = told(self._host.label(given) or "")
            raise CantLeave(f"{path} comes from a package that is not there, or from data that are not: {label}")
        raise CantLeave(f"{path} is a {kind}, which no .t7 file can hold")

    def _compound(self, given: Any, path: str) -> tuple[Value, list[Any]]:
        identity = self._host.identity(given)
        if identity in self._seen:
            return self._seen[identity], []
        self._alive.append(given)
        kind = self._host.kind(given)
        table = LuaTable()
        made = _object(kind[1], table) if isinstance(kind, tuple) and kind[0] == "object" else table
        self._seen[identity] = made
        return made, [(given, table, path)]

    def _numbers(self, handle: TensorHandle | StorageHandle) -> Value:
        if id(handle) not in self._seen:
            self._alive.append(handle)
            if isinstance(handle, StorageHandle):
                self._seen[id(handle)] = self._storage(handle.memory, handle.kind)
            else:
                self._seen[id(handle)] = self._tensor(handle)
        return self._seen[id(handle)]

    def _tensor(self, handle: TensorHandle) -> Tensor:
        value = handle.value
        if not value.numel():
            return Tensor(handle.typename, (), (), 1, None)
        storage = self._storage(value.untyped_storage(), handle.kind)
        return Tensor(handle.typename, tuple(value.shape), value.stride(), int(value.storage_offset()) + 1, storage)

    def _storage(self, memory: torch.UntypedStorage, kind: str) -> Storage:
        key = (memory._cdata, kind)
        if key not in self._storages:
            self._alive.append(memory)
            numbers = StorageHandle(memory, kind).value
            numbers = numbers.clone() if self._copies else numbers
            self._storages[key] = Storage(f"torch.{kind}Storage", numbers.numpy())
        return self._storages[key]


_COMPOUND: Any = object()


def _object(typename: str, fields: LuaTable) -> LuaObject:
    """An object with its fields; some classes write other values before them, which nobody reads, or nothing at all."""
    made = LuaObject(typename, fields)
    body = BODIES.get(typename, ONE_TABLE).of(made.version)
    if body.form == "objects":
        made.parts = [*(LuaTable() for _ in range(body.count - 1)), fields][: body.count]
    return made
