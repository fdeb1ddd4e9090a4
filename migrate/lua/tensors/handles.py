"""What stands behind a tensor or a storage of Lua."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

#: The element type of each kind; types of the GPU are their CPU twins, as when a file is read.
DTYPES: dict[str, torch.dtype] = {
    "Byte": torch.uint8,
    "Char": torch.int8,
    "Short": torch.int16,
    "Int": torch.int32,
    "Long": torch.int64,
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "CudaByte": torch.uint8,
    "CudaChar": torch.int8,
    "CudaShort": torch.int16,
    "CudaInt": torch.int32,
    "CudaLong": torch.int64,
    "Cuda": torch.float32,
    "CudaDouble": torch.float64,
    "CudaHalf": torch.float16,
}


class LuaFault(Exception):
    """An operation can't be done as Lua asked for it; the message goes to Lua as its error."""


class TensorHandle:
    """A tensor of Lua.

    Attributes:
        value: its numbers; one dimension of size 0 stands for Torch7's tensor without dimensions.
        kind: its type, such as `Float`.
    """

    __slots__ = ("__weakref__", "kind", "value")

    def __init__(self, value: torch.Tensor, kind: str) -> None:
        self.value = value
        self.kind = kind

    @property
    def typename(self) -> str:
        """Its class in Lua."""
        return f"torch.{self.kind}Tensor"

    @property
    def size(self) -> tuple[int, ...]:
        """Its size in Torch7's words: () if it is empty."""
        return tuple(self.value.shape) if self.value.numel() else ()


class StorageHandle:
    """A storage of Lua.

    Attributes:
        memory: the bytes, which tensors share.
        kind: its type, such as `Float`.
    """

    __slots__ = ("__weakref__", "kind", "memory")

    def __init__(self, memory: torch.UntypedStorage, kind: str) -> None:
        self.memory = memory
        self.kind = kind

    @classmethod
    def of(cls, value: torch.Tensor, kind: str) -> StorageHandle:
        """The storage of a tensor."""
        return cls(value.untyped_storage(), kind)

    @property
    def value(self) -> torch.Tensor:
        """A tensor of one dimension over the whole of it."""
        return torch.empty(0, dtype=DTYPES[self.kind]).set_(self.memory)

    @property
    def typename(self) -> str:
        """Its class in Lua."""
        return f"torch.{self.kind}Storage"


class NumberHandle:
    """A number of Lua that was computed from the numbers of tensors while a layer is recorded.

    Attributes:
        value: the number, a tensor of double precision without dimensions.
        refuse: remembers why what is done with it can't be recorded, and gives the error to raise.
    """

    __slots__ = ("__weakref__", "refuse", "value")
    typename = "torch.RecordedNumber"

    def __init__(self, value: torch.Tensor, refuse: Callable[[str], LuaFault]) -> None:
        self.value = value
        self.refuse = refuse

    def __float__(self) -> float:
        raise self.refuse(VALUES)

    def __int__(self) -> int:
        raise self.refuse(VALUES)

    __index__ = __int__

    def __bool__(self) -> bool:
        raise self.refuse(VALUES)


#: Why what a layer does is not recorded.
VALUES = "what it does depends on the numbers of its input or parameters"

Handle = TensorHandle | StorageHandle | NumberHandle


def is_number(value: Any) -> bool:
    """Is it a Lua number?"""
    return isinstance(value, (int, float, NumberHandle)) and not isinstance(value, bool)


def is_table(value: Any) -> bool:
    """Is it a Lua table? (lupa gives them no class of a stable name.)"""
    return hasattr(value, "values") and not isinstance(value, (TensorHandle, StorageHandle, NumberHandle))


def entries(table: Any) -> list[Any]:
    """The list part of a Lua table."""
    return [table[index] for index in range(1, len(table) + 1)]


def whole(value: Any, what: str = "a number") -> int:
    """A Lua number as C takes it for a long: cut off behind the point."""
    if isinstance(value, NumberHandle):
        raise value.refuse(VALUES)
    if not is_number(value) or value != value or abs(value) >= 2**63:
        raise LuaFault(f"invalid arguments: {what} expected, got {describe(value)}")
    return int(value)


def describe(value: Any) -> str:
    """A value as Torch7 lists it in its messages about arguments."""
    if isinstance(value, TensorHandle):
        return f"{value.kind}Tensor~{len(value.size)}D"
    if isinstance(value, StorageHandle):
        return f"{value.kind}Storage"
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if is_number(value):
        return "number"
    if isinstance(value, str):
        return "string"
    return "table" if is_table(value) else "function"
