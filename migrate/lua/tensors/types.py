"""Types, copies, and what goes between tensors and Lua's own values."""

from __future__ import annotations

from typing import Any

import torch

from .engine import Engine, function, inconsistent, method, tensor_argument, write_number
from .handles import DTYPES, LuaFault, StorageHandle, TensorHandle, describe, is_number

_CONVERSIONS = {
    "byte": "Byte",
    "char": "Char",
    "short": "Short",
    "int": "Int",
    "long": "Long",
    "float": "Float",
    "double": "Double",
    "half": "Half",
    "cuda": "Cuda",
    "cudaByte": "CudaByte",
    "cudaChar": "CudaChar",
    "cudaShort": "CudaShort",
    "cudaInt": "CudaInt",
    "cudaLong": "CudaLong",
    "cudaDouble": "CudaDouble",
    "cudaHalf": "CudaHalf",
}


def as_type(x: TensorHandle, kind: str) -> TensorHandle:
    """A tensor of another type: itself if it has it, else a copy."""
    if x.kind == kind:
        return x
    value = x.value.to(DTYPES[kind], copy=True, memory_format=torch.contiguous_format)
    return TensorHandle(value, kind)


def _conversion(kind: str) -> Any:
    def convert(engine: Engine, x: TensorHandle) -> TensorHandle:
        return as_type(x, kind)

    return convert


for _name, _kind in _CONVERSIONS.items():
    method(_name)(_conversion(_kind))


def kind_of(typename: Any) -> str:
    """`torch.FloatTensor` -> `Float`."""
    kind = typename.removeprefix("torch.").removesuffix("Tensor") if isinstance(typename, str) else ""
    if kind not in DTYPES or typename != f"torch.{kind}Tensor":
        raise LuaFault(f"<{typename}> is not a string describing a torch object")
    return kind


@method("type")
def type_(engine: Engine, x: TensorHandle, wanted: Any = None) -> Any:
    """`x:type()`: its class; `x:type('torch.FloatTensor')`: converted."""
    return x.typename if wanted is None else as_type(x, kind_of(wanted))


@method("typeAs")
def type_as(engine: Engine, x: TensorHandle, y: TensorHandle) -> TensorHandle:
    """`x:typeAs(y)`."""
    return as_type(x, tensor_argument(y, "typeAs").kind)


@method("copy")
@function("copy")
def copy(engine: Engine, x: TensorHandle, y: Any) -> TensorHandle:
    """`x:copy(y)`: element by element, whatever the sizes are if there are as many."""
    source = tensor_argument(y, "copy")
    if source.value.numel() != x.value.numel():
        raise inconsistent(x.size, source.size)
    x.value.copy_(source.value.reshape(x.value.shape))
    return x


@method("fill")
@function("fill")
def fill(engine: Engine, x: TensorHandle, value: Any) -> TensorHandle:
    """`x:fill(number)`."""
    if not is_number(value):
        raise LuaFault(f"invalid arguments: {x.kind}Tensor {describe(value)} ")
    write_number(x.value, value if x.value.is_floating_point() else int(value))
    return x


@method("zero")
@function("zero")
def zero(engine: Engine, x: TensorHandle) -> TensorHandle:
    """`x:zero()`."""
    x.value.zero_()
    return x


@method("totable")
@function("totable")
def totable(engine: Engine, x: TensorHandle) -> Any:
    """`x:totable()`: numbers in lists."""
    return x.value.double().tolist()


def _called(function: Any, values: list[list[float]]) -> list[float]:
    results = []
    for row in zip(*values, strict=True):
        found = function(*row)
        if found is not None and not is_number(found):
            raise LuaFault("the function must return a number")
        results.append(row[0] if found is None else float(found))
    return results


def _mapped(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    *others, called = arguments
    rows = [x.value.double().reshape(-1).tolist()]
    rows += [tensor_argument(other, "map").value.double().reshape(-1).tolist() for other in others]
    if len({len(row) for row in rows}) > 1:
        raise LuaFault("inconsistent tensor size")
    values = torch.tensor(_called(called, rows), dtype=torch.float64)
    x.value.copy_(values.reshape(x.value.shape))
    return x


for _name in ("apply", "map", "map2"):
    method(_name)(_mapped)


@method("equal")
@function("equal")
def equal(engine: Engine, x: TensorHandle, y: TensorHandle) -> bool:
    """`x:equal(y)`: the same size and numbers?"""
    return x.size == y.size and bool((x.value == y.value).all())


@method("tostring")
@function("tostring")
def tostring(engine: Engine, x: TensorHandle) -> str:
    """A tensor as text; not laid out as Torch7 does."""
    if not x.size:
        return f"[{x.typename} with no dimension]\n"
    text = str(x.value.tolist()) if x.value.numel() <= 1000 else "…"
    return f"{text}\n[{x.typename} of size {'x'.join(map(str, x.size))}]\n"


@function("pointer_of")
def pointer_of(engine: Engine, x: Any) -> float:
    """A number that is the same for the same storage; tensors have one each."""
    return float(x.memory._cdata if isinstance(x, StorageHandle) else id(x))


@function("__copied_storage")
def copied_storage(engine: Engine, s: StorageHandle) -> StorageHandle:
    """A storage with the same numbers, in memory of its own."""
    return StorageHandle.of(s.value.clone(), s.kind)
