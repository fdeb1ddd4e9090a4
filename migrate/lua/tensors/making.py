"""Constructors: torch.Tensor(…), torch.zeros(…), torch.range(…) and their like."""

from __future__ import annotations

import math
from typing import Any

import torch

from .engine import (
    Engine,
    contiguous_strides,
    destination,
    flatten_empty,
    function,
    method,
    scalar_argument,
    sizes,
    tensor_argument,
    trimmed,
)
from .handles import (
    DTYPES,
    Handle,
    LuaFault,
    StorageHandle,
    TensorHandle,
    describe,
    entries,
    is_number,
    is_table,
    whole,
)


def construct(engine: Engine, typename: str, *arguments: Any) -> Handle:
    """`torch.FloatTensor(…)`, `torch.LongStorage(…)`: every form of them."""
    kind = typename.removeprefix("torch.").removesuffix("Tensor").removesuffix("Storage")
    given = trimmed(arguments)
    return (_tensor if typename == f"torch.{kind}Tensor" else _storage)(engine, kind, given)


def _storage(engine: Engine, kind: str, given: list[Any]) -> StorageHandle:
    if not given:
        return StorageHandle.of(torch.empty(0, dtype=DTYPES[kind]), kind)
    first = given[0]
    if is_table(first):
        return StorageHandle.of(numbers(entries(first), kind), kind)
    if isinstance(first, StorageHandle) and len(given) == 1:
        return first
    if is_number(first) and len(given) == 1:
        return StorageHandle.of(engine.new([whole(first)], kind), kind)
    raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for a {kind}Storage")


def numbers(values: list[Any], kind: str) -> torch.Tensor:
    """Lua numbers in one dimension, as C converts them."""
    for value in values:
        if not is_number(value):
            raise LuaFault(f"invalid arguments: a number expected in the table, got {describe(value)}")
    return torch.tensor([float(value) for value in values], dtype=torch.float64).to(DTYPES[kind])


def _tensor(engine: Engine, kind: str, given: list[Any]) -> TensorHandle:
    made = TensorHandle(torch.empty(0, dtype=DTYPES[kind]), kind)
    if not given:
        return made
    first = given[0]
    if isinstance(first, TensorHandle):
        if DTYPES[first.kind] != DTYPES[kind] or first.kind != kind:
            raise LuaFault(f"invalid arguments: {describe(first)} for a {kind}Tensor")
        return set_to(engine, made, first)
    if isinstance(first, StorageHandle):
        if first.kind == kind == "Long" and len(given) == 1:  # its own storage, not a size
            return set_to(engine, made, first)
        # a LongStorage alone is a size, and so are two of them (size and strides)
        if first.kind == "Long" and (len(given) == 1 or isinstance(given[1], StorageHandle)):
            strides = sizes(given[1:2]) if len(given) > 1 else None
            return _strided(engine, sizes(given[:1]), strides, kind)
        return set_to(engine, made, *given)
    if is_table(first):
        return TensorHandle(_nested(first, kind), kind)
    return TensorHandle(engine.new(sizes(given), kind), kind)


def _strided(engine: Engine, size: list[int], strides: list[int] | None, kind: str) -> TensorHandle:
    if strides is None:
        return TensorHandle(engine.new(size, kind), kind)
    wanted = tuple(contiguous_strides(size))
    if len(strides) != len(size):
        raise LuaFault("inconsistent size")
    steps = tuple(given if given >= 0 else step for given, step in zip(strides, wanted, strict=True))
    count = 1 + sum((extent - 1) * step for extent, step in zip(size, steps, strict=True))
    return TensorHandle(engine.new([count], kind).as_strided(size, steps), kind)


def _nested(table: Any, kind: str) -> torch.Tensor:
    """A table of numbers, or of tables."""

    def shape(value: Any) -> list[int]:
        if not is_table(value):
            return []
        return [len(value), *(shape(value[1]) if len(value) else [])]

    def flat(value: Any, rest: list[int]) -> list[Any]:
        if not rest:
            return [value]
        if not is_table(value) or len(value) != rest[0]:
            raise LuaFault("invalid tensor definition: the tables are not of one size")
        return [one for entry in entries(value) for one in flat(entry, rest[1:])]

    size = shape(table)
    if not size or 0 in size:
        return torch.empty(0, dtype=DTYPES[kind])
    return numbers(flat(table, size), kind).reshape(size)


@method("set")
def set_to(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:set(tensor)`, `x:set(storage, [offset, size…])`: a view of what is given; `x:set(size)`: of memory."""
    given = trimmed(arguments)
    if not given:
        x.value = torch.empty(0, dtype=x.value.dtype)
        return x
    source = given[0]
    if is_number(source) and len(given) == 1:  # a size, of fresh memory
        x.value = engine.new([max(whole(source), 0)], x.kind)
        return x
    if not isinstance(source, (TensorHandle, StorageHandle)) or source.kind != x.kind:
        raise LuaFault(f"invalid arguments: {' '.join(map(describe, [x, *given]))} for set")
    if isinstance(source, TensorHandle):
        value = source.value
        x.value = value.as_strided(value.shape, value.stride(), value.storage_offset())
        return x
    total = source.value.numel()
    offset = whole(given[1]) - 1 if len(given) > 1 else 0
    size, strides = _geometry(given[2:], total - offset)
    reach = offset + 1 + sum((extent - 1) * step for extent, step in zip(size, strides, strict=True))
    if offset < 0 or (size and reach > total):
        raise LuaFault(f"out of bounds: size {size} at offset {offset + 1} of a storage of {total}")
    x.value = torch.empty(0, dtype=x.value.dtype).set_(
        source.memory, offset, tuple(size) or (0,), tuple(strides) or (1,)
    )
    return x


def _geometry(rest: list[Any], total: int) -> tuple[list[int], list[int]]:
    """Sizes and strides behind a storage: storages of both, or pairs of numbers."""
    if not rest:
        return ([total], [1]) if total > 0 else ([], [])
    if isinstance(rest[0], StorageHandle):
        size = sizes(rest[:1])
        given = sizes(rest[1:2]) if len(rest) > 1 else []
    else:
        size = [whole(value) for value in rest[0::2]]
        given = [whole(value) for value in rest[1::2]]
    steps = list(contiguous_strides(size))
    for index, step in enumerate(given):
        if step >= 0:
            steps[index] = step
    if any(extent < 1 for extent in size):
        raise LuaFault(f"invalid arguments: size {size}")
    return size, steps


def _filled(value: float) -> Any:
    def make(engine: Engine, *arguments: Any) -> TensorHandle:
        target, given = destination(arguments)
        kind = target.kind if target is not None else engine.default_kind
        made = engine.new(sizes(given), kind)
        return engine.result(target, made.fill_(value), kind)

    return make


for _name, _value in (("zeros", 0.0), ("ones", 1.0)):
    function(_name)(_filled(_value))
    method(_name)(_filled(_value))


@function("range")
@method("range")
def range_(engine: Engine, *arguments: Any) -> TensorHandle:
    """`torch.range([res,] first, last, [step])`: both ends belong to it."""
    target, given = destination(arguments)
    first, last = scalar_argument(given[0], "range"), scalar_argument(given[1], "range")
    step = scalar_argument(given[2], "range") if len(given) > 2 else 1.0
    if step == 0 or ((step > 0) != (last >= first) and first != last):
        raise LuaFault("upper bound and larger bound incoherent with step sign")
    count = math.floor((last - first) / step) + 1
    engine.bounded([count])
    kind = target.kind if target is not None else engine.default_kind
    value = (first + torch.arange(count, dtype=torch.float64) * step).to(DTYPES[kind])
    return engine.result(target, value, kind)


def _space(base: float | None) -> Any:
    def make(engine: Engine, *arguments: Any) -> TensorHandle:
        target, given = destination(arguments)
        count = whole(given[2]) if len(given) > 2 else 100
        first, last = scalar_argument(given[0], "space"), scalar_argument(given[1], "space")
        engine.bounded([count])
        if count < 1 or (count == 1 and first != last):
            raise LuaFault("invalid number of points")
        steps = torch.arange(count, dtype=torch.float64)
        value = first + steps * ((last - first) / max(count - 1, 1))
        kind = target.kind if target is not None else engine.default_kind
        return engine.result(target, (value if base is None else base**value).to(DTYPES[kind]), kind)

    return make


for _name, _base in (("linspace", None), ("logspace", 10.0)):
    function(_name)(_space(_base))
    method(_name)(_space(_base))


@function("eye")
@method("eye")
def eye(engine: Engine, *arguments: Any) -> TensorHandle:
    """`torch.eye([res,] n, [m])`."""
    target, given = destination(arguments)
    size = sizes(given)
    engine.bounded([size[0], size[-1]])
    kind = target.kind if target is not None else engine.default_kind
    return engine.result(target, torch.eye(size[0], size[-1], dtype=DTYPES[kind]), kind)


@function("cat")
@method("cat")
def cat(engine: Engine, *arguments: Any) -> TensorHandle:
    """`torch.cat([res,] {x, y, …}, [dimension])`, `torch.cat([res,] x, y, [dimension])`; by default the last one."""
    given = trimmed(arguments)
    target = None
    tables = [index for index, value in enumerate(given) if is_table(value)]
    if tables:
        if tables[0] == 1:
            target = tensor_argument(given[0], "cat")
        parts, rest = entries(given[tables[0]]), given[tables[0] + 1 :]
    else:
        parts = [value for value in given if isinstance(value, TensorHandle)]
        rest = given[len(parts) :]
        if len(parts) == 3:
            target, *parts = parts
    if not parts or any(not isinstance(part, TensorHandle) for part in parts):
        raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for cat")
    kind = parts[0].kind
    if any(part.kind != kind for part in parts):
        raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for cat")
    filled = [part for part in parts if part.size]
    if not filled:
        return engine.result(target, torch.empty(0, dtype=DTYPES[kind]), kind)
    most = max(len(part.size) for part in filled)
    axis = (whole(rest[0]) if rest else most) - 1
    if not 0 <= axis <= most:
        raise LuaFault(f"invalid dimension {axis + 1}")
    rank = max(most, axis + 1)
    values = []
    for part in filled:
        size = [*part.size, *[1] * (rank - len(part.size))]
        values.append(part.value.reshape(size))
    if len({tuple(extent for i, extent in enumerate(value.shape) if i != axis) for value in values}) > 1:
        raise LuaFault("inconsistent tensor sizes")
    return engine.result(target, flatten_empty(torch.cat(values, axis)), kind)
