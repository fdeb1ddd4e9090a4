"""Objects of a file as Torch7's own Lua reads them: with the methods of its classes, some of which read themselves."""

from __future__ import annotations

from typing import Any

from ...t7 import LuaFunction, LuaObject, LuaTable, Value
from ..loading import Loading
from ..runtime import LuaStopped, Runtime
from ..tensors.handles import LuaFault


class Reading(Loading):
    """Values of a file; numbers are on the CPU, and those of half precision become `Float`, as Torch7 runs them there.

    Args:
        runtime: a Lua with Torch7's own Lua in it.

    Attributes:
        unknown: the first class that is in the file and not in that Lua, or "".
    """

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime, on_cpu=True)
        self._objects: dict[int, tuple[LuaObject, Any]] = {}
        self._alive: list[Any] = []
        self.unknown = ""

    def value(self, root: Value) -> Any:
        """The value, whose objects have read themselves, those that others hold first.

        Raises:
            LuaFault: it holds an object of an unknown class, or one can't be read.
        """
        made = super().value(root)
        for part in _inner_first(root):
            if id(part) in self._objects:
                source, there = self._objects.pop(id(part))
                parts = [self._part(held) for held in source.parts if held is not source.fields]
                try:
                    read = self._runtime.host.read
                    self._runtime.guarded(read, there, source.version, self._runtime.lua.table_from(parts))
                except LuaStopped as error:
                    raise LuaFault(f"{source.typename} can't be read: {error}") from None
        return made

    def _part(self, value: Value) -> Any:
        return super().value(value)

    def _one(self, given: Any) -> tuple[Any, list[Any]]:
        if isinstance(given, str) and given in ("torch.HalfTensor", "torch.CudaHalfTensor"):
            given = "torch.FloatTensor"
        return super()._one(given)

    def _compound(self, given: Any) -> tuple[Any, list[Any]]:
        self._alive.append(given)
        if isinstance(given, LuaFunction):
            return self._runtime.host.unread_function(), []
        if isinstance(given, LuaObject) and not self._runtime.host.has_class(given.typename):
            self.unknown = self.unknown or given.typename
        made, more = super()._compound(given)
        if isinstance(given, LuaObject):
            self._objects[id(given)] = given, made
        return made, more

    def _kind(self, typename: str, ending: str) -> str:
        kind = super()._kind(typename, ending)
        return "Float" if kind == "Half" else kind


def _inner_first(root: Value) -> list[Value]:
    """Objects and tables in the order in which a file ends them."""
    found: list[Value] = []
    seen: set[int] = set()
    stack: list[tuple[Value, bool]] = [(root, False)]
    while stack:
        item, ended = stack.pop()
        if ended:
            found.append(item)
        elif isinstance(item, (LuaObject, LuaTable)) and id(item) not in seen:
            seen.add(id(item))
            stack.append((item, True))
            stack += [(part, False) for pair in reversed(item.items()) for part in reversed(pair)]
    return found
