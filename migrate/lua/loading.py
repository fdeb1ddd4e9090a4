"""`torch.load` of a definition: a `.t7` below its folders, read by the product's own reader, as values of Lua."""

from __future__ import annotations

from typing import Any

import torch

from ..base.errors import TorchMigrateError
from ..t7 import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value, load
from .runtime import Runtime
from .tensors.handles import DTYPES, LuaFault, StorageHandle, TensorHandle


def loaded(runtime: Runtime, name: str) -> Any:
    """The first object of a file.

    Raises:
        LuaFault: no such file lies below the folders, it is no `.t7`, or holds what Lua here has no class for.
    """
    try:
        value = load(runtime.folders.read(name))
    except TorchMigrateError as error:
        raise LuaFault(f"torch.load: {name}: {str(error).splitlines()[0]}") from error
    return Loading(runtime).value(value)


class Loading:
    """Values of a file as Lua's; what is shared in the file is shared in Lua.

    Args:
        runtime: the Lua.
        on_cpu: types of the GPU become those of the CPU, also by their names.
    """

    def __init__(self, runtime: Runtime, *, on_cpu: bool = False) -> None:
        self._runtime = runtime
        self._on_cpu = on_cpu
        self._seen: dict[int, Any] = {}
        self._memory: dict[int, torch.UntypedStorage] = {}
        self._elements = 0

    def value(self, root: Value) -> Any:
        made, stack = self._one(root)
        while stack:
            source, table = stack.pop()
            for key, held in source.items():
                new_key, more = self._one(key)
                stack += more
                new_value, more = self._one(held)
                stack += more
                self._runtime.host.put(table, new_key, new_value)
        return made

    def _one(self, given: Any) -> tuple[Any, list[Any]]:
        if isinstance(given, str):
            if self._on_cpu and given.startswith("torch.Cuda"):
                given = f"torch.{_on_cpu(given.removeprefix('torch.').removesuffix('Tensor'))}Tensor"
            return given.encode("utf-8").decode("latin-1"), []
        if isinstance(given, bytes):
            return given.decode("latin-1"), []
        if given is None or isinstance(given, (bool, int, float)):
            return given, []
        if id(given) in self._seen:
            return self._seen[id(given)], []
        made, more = self._compound(given)
        self._seen[id(given)] = made
        return made, more

    def _compound(self, given: Any) -> tuple[Any, list[Any]]:
        if isinstance(given, Tensor):
            return self._runtime.host.wrap(self._tensor(given)), []
        if isinstance(given, Storage):
            return self._runtime.host.wrap(
                StorageHandle(self._storage(given), self._kind(given.typename, "Storage"))
            ), []
        if isinstance(given, LuaFunction):
            raise LuaFault("torch.load: the file holds a function of Lua, whose bytecode is not run")
        if isinstance(given, LuaObject):
            made = self._runtime.host.object(given.typename)
            if made is None:
                raise LuaFault(f"torch.load: unknown Torch class <{given.typename}>")
            return made, [(given, made)]
        if not isinstance(given, LuaTable):
            raise LuaFault(f"torch.load: the file holds a {type(given).__name__}")
        table = self._runtime.lua.table()
        return table, [(given, table)]

    def _tensor(self, given: Tensor) -> TensorHandle:
        kind = self._kind(given.type, "Tensor")
        empty = torch.empty(0, dtype=DTYPES[kind])
        if given.storage is None or not given.size:
            return TensorHandle(empty, kind)
        memory = self._storage(given.storage)
        return TensorHandle(empty.set_(memory, given.offset - 1, given.size, given.stride), kind)

    def _kind(self, typename: str, ending: str) -> str:
        kind = _kind(typename, ending)
        return _on_cpu(kind) if self._on_cpu else kind

    def _storage(self, given: Storage) -> torch.UntypedStorage:
        if id(given) not in self._memory:
            self._elements += len(given.data)
            self._runtime.engine.bounded([self._elements])
            dtype = DTYPES[self._kind(given.typename, "Storage")]
            self._memory[id(given)] = torch.tensor(given.data, dtype=dtype).untyped_storage()
        return self._memory[id(given)]


def _on_cpu(kind: str) -> str:
    return kind.removeprefix("Cuda") or "Float"


def _kind(typename: str, ending: str) -> str:
    """The kind of a class of numbers, such as `Float`."""
    kind = typename.removeprefix("torch.").removesuffix(ending)
    if kind not in DTYPES:
        raise LuaFault(f"torch.load: unknown Torch class <{typename}>")
    return kind
