"""The operations by name, and what they share: fresh memory, destinations, the default type."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from .generators import Tausworthe, Twister
from .handles import (
    DTYPES,
    LuaFault,
    NumberHandle,
    StorageHandle,
    TensorHandle,
    describe,
    entries,
    is_number,
    is_table,
    whole,
)

Operation = Callable[..., Any]
F = TypeVar("F", bound=Operation)

#: Operations by the way in which Lua calls them: x:name(…), torch.name(…), storage:name(…), x.THNN.name(…).
METHODS: dict[str, Operation] = {}
FUNCTIONS: dict[str, Operation] = {}
STORAGE_METHODS: dict[str, Operation] = {}
KERNELS: dict[str, Operation] = {}


def method(*names: str) -> Callable[[F], F]:
    """Registers `x:name(…)`."""
    return _register(METHODS, names)


def function(*names: str) -> Callable[[F], F]:
    """Registers `torch.name(…)`."""
    return _register(FUNCTIONS, names)


def storage_method(*names: str) -> Callable[[F], F]:
    """Registers `storage:name(…)`."""
    return _register(STORAGE_METHODS, names)


def kernel(*names: str) -> Callable[[F], F]:
    """Registers `x.THNN.name(…)`, a function in C of Torch7's nn."""
    return _register(KERNELS, names)


def _register(table: dict[str, Operation], names: Sequence[str]) -> Callable[[F], F]:
    def register(operation: F) -> F:
        for name in names:
            if name in table:
                raise ValueError(f"{name} is registered twice")
            table[name] = operation
        return operation

    return register


class Engine:
    """The state that operations share, one for each run.

    Attributes:
        default_kind: the type of `torch.Tensor`.
        fresh: what memory holds that nothing was written to. Torch7 leaves there whatever was there before.
        elements: how many elements one operation may make.
        strict: are masks and indices refused that hold numbers with fractions, as they are on a CPU? On a GPU they may.
        orders: how what Torch7 leaves in an open order is given: None, as on a CPU; 1, in some order; -1, in another.
        asked: was something asked for that has such an order?
        random: the generator of torch's random numbers.
        generators: those that `torch.Generator()` made, by their numbers.
        lua_random: that of Lua's own, `math.random`.
    """

    def __init__(self, *, seed: int, fresh: float, elements: int) -> None:
        self.default_kind = "Double"
        self.fresh = fresh
        self.elements = elements
        self.strict = False
        self.orders: int | None = None
        self.asked = False
        self.seed = seed
        self.random = Twister(seed)
        self.generators: dict[float, Twister] = {}
        self.lua_random = Tausworthe(float(seed))

    def new(self, size: Sequence[int], kind: str) -> torch.Tensor:
        """Fresh memory of a size in Torch7's words: () is the empty tensor."""
        self.bounded(size)
        if any(extent < 0 for extent in size):
            raise LuaFault(f"invalid arguments: a negative size {list(size)}")
        if not size or 0 in size:
            return torch.empty(0, dtype=DTYPES[kind])
        dtype = DTYPES[kind]
        return torch.full(tuple(size), self.fresh if dtype.is_floating_point else math.ceil(self.fresh), dtype=dtype)

    def expect(self, x: TensorHandle, kind: str) -> None:
        """Refuses a mask or indices of another type, where it is strict."""
        if self.strict and x.value.is_floating_point():
            raise LuaFault(f"torch.{kind}Tensor expected, got {x.typename}")

    def bounded(self, size: Sequence[int]) -> None:
        """Refuses a size with too many elements."""
        count = math.prod(size) if size else 0
        if count > self.elements:
            raise LuaFault(f"a tensor of {count} elements is more than LuaLimits.elements = {self.elements} allow")

    def tensor(self, value: torch.Tensor, kind: str) -> TensorHandle:
        """A new tensor of Lua."""
        return TensorHandle(value, kind)

    def resize(self, x: TensorHandle, size: Sequence[int]) -> TensorHandle:
        """Gives a tensor a size in place, in its storage, which grows where it must."""
        size = tuple(size)
        if size == x.size:
            return x
        self.bounded(size)
        count = math.prod(size) if size else 0
        if not count:
            x.value = x.value.as_strided((0,), (1,), x.value.storage_offset())
            return x
        storage = x.value.untyped_storage()
        step = x.value.element_size()
        had = storage.nbytes() // step
        needed = count + x.value.storage_offset()
        if needed > had:
            storage.resize_(int(needed) * step)
            flat = torch.empty(0, dtype=x.value.dtype).set_(storage)
            flat[had:] = self.fresh if flat.is_floating_point() else math.ceil(self.fresh)
        strides = contiguous_strides(size)
        x.value = torch.empty(0, dtype=x.value.dtype).set_(storage, x.value.storage_offset(), size, strides)
        return x

    def put(self, target: TensorHandle, value: torch.Tensor) -> TensorHandle:
        """Writes a result into its destination, which takes its size."""
        value = value.reshape(1) if value.dim() == 0 else value
        if target.size != tuple(value.shape):
            self.resize(target, tuple(value.shape) if value.numel() else ())
        if value.numel():
            target.value.copy_(value)
        return target

    def result(self, target: TensorHandle | None, value: torch.Tensor, kind: str) -> TensorHandle:
        """A result in its destination, or in a tensor of its own."""
        return self.put(target, value) if target is not None else TensorHandle(flatten_empty(value), kind)


def flatten_empty(value: torch.Tensor) -> torch.Tensor:
    """Torch7 has one empty tensor, without dimensions, and none of 0 dimensions."""
    if value.dim() == 0:
        return value.reshape(1)
    return value if value.numel() or value.dim() == 1 else value.reshape(0)


def contiguous_strides(size: Sequence[int]) -> tuple[int, ...]:
    """The strides of a tensor without gaps."""
    strides, step = [], 1
    for extent in reversed(size):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def sizes(arguments: Sequence[Any]) -> list[int]:
    """Sizes as Torch7 takes them: numbers, a LongStorage, or (as some functions do) a table."""
    given = list(arguments)
    while given and given[-1] is None:
        given.pop()
    if len(given) == 1 and isinstance(given[0], (StorageHandle, TensorHandle)):
        return [int(value) for value in given[0].value.tolist()]
    if len(given) == 1 and is_table(given[0]):
        given = entries(given[0])
    return [whole(value, "a size") for value in given]


def dimension(x: TensorHandle, number: Any) -> int:
    """A dimension counted from 1, as PyTorch counts it."""
    index = whole(number, "a dimension")
    if not 1 <= index <= len(x.size):
        raise LuaFault(f"dimension {index} out of range of {len(x.size)}D tensor")
    return index - 1


def trimmed(arguments: Sequence[Any]) -> list[Any]:
    """The arguments without the nil at their end."""
    given = list(arguments)
    while given and given[-1] is None:
        given.pop()
    return given


def destination(arguments: Sequence[Any]) -> tuple[TensorHandle | None, list[Any]]:
    """A tensor that comes first, in which the result goes, and the rest."""
    given = trimmed(arguments)
    if given and isinstance(given[0], TensorHandle):
        return given[0], given[1:]
    return None, given


def tensor_argument(value: Any, name: str) -> TensorHandle:
    """An argument that must be a tensor."""
    if not isinstance(value, TensorHandle):
        raise LuaFault(f"invalid arguments: {name} expected a tensor, got {describe(value)}")
    return value


def number(value: torch.Tensor) -> Any:
    """One element as a Lua number."""
    found: Any = value.item()
    return found if isinstance(found, NumberHandle) else float(found)


def scalar(value: Any) -> Any:
    """A number of Lua as PyTorch takes it."""
    return value.value if isinstance(value, NumberHandle) else value


def write_number(target: torch.Tensor, value: Any) -> None:
    """Writes one number everywhere."""
    if isinstance(value, NumberHandle):
        target.copy_(value.value)
    else:
        target.fill_(value)


def listed(size: Sequence[int]) -> str:
    """A size as Torch7's messages list it."""
    return f"[{' x '.join(map(str, size))}]"


def inconsistent(wanted: Sequence[int], given: Sequence[int]) -> LuaFault:
    """Torch7's words for two tensors that have not as many elements."""
    return LuaFault(
        f"inconsistent tensor size, expected tensor {listed(wanted)} and src {listed(given)} to have the same number "
        f"of elements, but got {math.prod(wanted) if wanted else 0} and {math.prod(given) if given else 0} elements "
        "respectively"
    )


def scalar_argument(value: Any, name: str) -> float:
    """An argument that must be a number."""
    if not is_number(value):
        raise LuaFault(f"invalid arguments: {name} expected a number, got {describe(value)}")
    return float(value)
