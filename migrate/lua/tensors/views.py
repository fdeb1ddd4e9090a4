"""Sizes and views: size, resize, view, narrow, select, transpose, expand and their like."""

from __future__ import annotations

import math
from typing import Any

import torch

from .engine import (
    Engine,
    destination,
    dimension,
    flatten_empty,
    function,
    inconsistent,
    method,
    number,
    sizes,
    tensor_argument,
)
from .handles import LuaFault, StorageHandle, TensorHandle, is_table, whole


def long_storage(values: Any) -> StorageHandle:
    """A LongStorage, as sizes come back."""
    return StorageHandle.of(torch.tensor(list(values), dtype=torch.int64), "Long")


@method("size")
@function("size")
def size(engine: Engine, x: TensorHandle, axis: Any = None) -> Any:
    """`x:size()`, `x:size(dimension)`."""
    return long_storage(x.size) if axis is None else x.size[dimension(x, axis)]


@method("stride")
def stride(engine: Engine, x: TensorHandle, axis: Any = None) -> Any:
    """`x:stride()`, `x:stride(dimension)`."""
    steps = x.value.stride() if x.size else ()
    return long_storage(steps) if axis is None else steps[dimension(x, axis)]


@method("dim", "nDimension")
@function("nDimension")
def dim(engine: Engine, x: TensorHandle) -> int:
    """`x:dim()`: 0 for an empty tensor."""
    return len(x.size)


@method("nElement", "numel")
@function("nElement", "numel")
def n_element(engine: Engine, x: TensorHandle) -> int:
    """`x:nElement()`."""
    return x.value.numel()


@method("isContiguous")
def is_contiguous(engine: Engine, x: TensorHandle) -> bool:
    """`x:isContiguous()`."""
    return x.value.is_contiguous()


@method("isSameSizeAs")
def is_same_size_as(engine: Engine, x: TensorHandle, y: TensorHandle) -> bool:
    """`x:isSameSizeAs(y)`."""
    return x.size == tensor_argument(y, "isSameSizeAs").size


@method("isSize")
def is_size(engine: Engine, x: TensorHandle, wanted: Any) -> bool:
    """`x:isSize(storage)`."""
    return list(x.size) == sizes([wanted])


@method("isSetTo")
def is_set_to(engine: Engine, x: TensorHandle, y: TensorHandle) -> bool:
    """`x:isSetTo(y)`: the same view of the same storage?"""
    same = x.value.untyped_storage()._cdata == y.value.untyped_storage()._cdata
    return same and x.size == y.size and x.value.stride() == y.value.stride() and _offset(x) == _offset(y)


def _offset(x: TensorHandle) -> int:
    return int(x.value.storage_offset())


@method("storageOffset")
def storage_offset(engine: Engine, x: TensorHandle) -> int:
    """`x:storageOffset()`, counted from 1."""
    return _offset(x) + 1


@method("storage")
def storage(engine: Engine, x: TensorHandle) -> StorageHandle | None:
    """`x:storage()`; nil for a tensor that has none."""
    memory = x.value.untyped_storage()
    return StorageHandle(memory, x.kind) if memory.nbytes() else None


@method("elementSize")
def element_size(engine: Engine, x: TensorHandle) -> int:
    """`x:elementSize()`."""
    return x.value.element_size()


@method("resize")
def resize(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:resize(size…)`, in place."""
    if len(arguments) == 2 and isinstance(arguments[1], StorageHandle):
        raise LuaFault("resize with strides isn't implemented")
    wanted = sizes(arguments)
    if any(extent < 0 for extent in wanted):
        raise LuaFault(f"invalid arguments: a negative size {wanted}")
    return engine.resize(x, wanted if wanted and 0 not in wanted else [])


@method("resizeAs")
def resize_as(engine: Engine, x: TensorHandle, y: TensorHandle) -> TensorHandle:
    """`x:resizeAs(y)`."""
    return engine.resize(x, tensor_argument(y, "resizeAs").size)


def inferred(wanted: list[int], count: int) -> list[int]:
    """Sizes of which one may be -1."""
    if wanted.count(-1) > 1:
        raise LuaFault("only one dimension can be -1")
    if -1 in wanted:
        known = math.prod(extent for extent in wanted if extent != -1)
        if known <= 0 or count % known:
            raise LuaFault("The number of covered elements is not a multiple of all elements.")
        wanted = [count // known if extent == -1 else extent for extent in wanted]
    return wanted


def _viewed(source: TensorHandle, wanted: list[int]) -> torch.Tensor:
    if not source.value.is_contiguous():
        raise LuaFault("expecting a contiguous tensor")
    wanted = inferred(wanted, source.value.numel())
    if math.prod(wanted) != source.value.numel() or not wanted:
        listed = "x".join(map(str, wanted))
        raise LuaFault(f"Wrong size for view. Input size: {'x'.join(map(str, source.size))}. Output size: {listed}")
    return source.value.view(wanted)


@method("view")
@function("view")
def view(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:view([result,] size…)`."""
    if arguments and isinstance(arguments[0], TensorHandle):
        x.value = _viewed(arguments[0], sizes(arguments[1:]))
        return x
    return TensorHandle(_viewed(x, sizes(arguments)), x.kind)


@method("viewAs")
def view_as(engine: Engine, x: TensorHandle, y: TensorHandle, like: Any = None) -> TensorHandle:
    """`x:viewAs(y)`, `result:viewAs(x, y)`."""
    if isinstance(like, TensorHandle):
        x.value = _viewed(y, list(like.size))
        return x
    return TensorHandle(_viewed(x, list(y.size)), x.kind)


@method("reshape")
@function("reshape")
def reshape(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:reshape([result,] size…)`: a copy."""
    target = None
    if arguments and isinstance(arguments[0], TensorHandle):
        target, x, arguments = x, arguments[0], arguments[1:]
    wanted = inferred(sizes(arguments), x.value.numel())
    if math.prod(wanted) != x.value.numel():
        raise inconsistent(wanted, x.size)
    value = x.value.reshape(wanted).clone(memory_format=torch.contiguous_format)
    return engine.result(target, value, x.kind)


@method("narrow")
@function("narrow")
def narrow(engine: Engine, x: TensorHandle, axis: Any, first: Any, count: Any) -> TensorHandle:
    """`x:narrow(dimension, first, count)`."""
    index, start, length = dimension(x, axis), whole(first), whole(count)
    if not 1 <= start <= x.size[index]:
        raise LuaFault("out of range")
    if length < 1 or start + length - 1 > x.size[index]:
        raise LuaFault("out of range")
    return TensorHandle(x.value.narrow(index, start - 1, length), x.kind)


@method("select")
@function("select")
def select(engine: Engine, x: TensorHandle, axis: Any, at: Any) -> Any:
    """`x:select(dimension, index)`: a number if it has one dimension."""
    index = dimension(x, axis)
    position = whole(at)
    if not 1 <= position <= x.size[index]:
        raise LuaFault("out of range")
    value = x.value.select(index, position - 1)
    return number(value) if value.dim() == 0 else TensorHandle(value, x.kind)


@method("sub")
@function("sub")
def sub(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:sub(first, last, [first, last…])`: a part of each dimension; negative ones count from the end."""
    bounds = sizes(arguments)
    if len(bounds) % 2 or not bounds or len(bounds) > 2 * len(x.size):
        raise LuaFault("invalid arguments for sub")
    value = x.value
    for axis in range(len(bounds) // 2):
        extent = x.size[axis]
        first, last = (place if place >= 0 else extent + place + 1 for place in bounds[2 * axis : 2 * axis + 2])
        if not 1 <= first <= last <= extent:
            raise LuaFault("out of range")
        value = value.narrow(axis, first - 1, last - first + 1)
    return TensorHandle(value, x.kind)


@method("transpose")
@function("transpose")
def transpose(engine: Engine, x: TensorHandle, first: Any, second: Any) -> TensorHandle:
    """`x:transpose(dimension, dimension)`."""
    return TensorHandle(x.value.transpose(dimension(x, first), dimension(x, second)), x.kind)


@method("t")
@function("t")
def t(engine: Engine, x: TensorHandle) -> TensorHandle:
    """`x:t()`, of a matrix."""
    if len(x.size) != 2:
        raise LuaFault("t() expects a 2D tensor")
    return TensorHandle(x.value.t(), x.kind)


@method("permute")
def permute(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:permute(dimension…)`."""
    axes = [dimension(x, axis) for axis in sizes(arguments)]
    if sorted(axes) != list(range(len(x.size))):
        raise LuaFault("invalid permutation")
    return TensorHandle(x.value.permute(axes), x.kind)


@method("unfold")
def unfold(engine: Engine, x: TensorHandle, axis: Any, width: Any, step: Any) -> TensorHandle:
    """`x:unfold(dimension, size, step)`."""
    index = dimension(x, axis)
    if not 1 <= whole(width) <= x.size[index] or whole(step) < 1:
        raise LuaFault("out of range")
    return TensorHandle(x.value.unfold(index, whole(width), whole(step)), x.kind)


@method("squeeze")
@function("squeeze")
def squeeze(engine: Engine, x: TensorHandle, *arguments: Any) -> Any:
    """`x:squeeze([dimension])`: a number if one element is left and no dimension was named."""
    target, given = destination(arguments)
    source = target if target is not None else x
    if given:
        index = dimension(source, given[0])
        value = source.value.squeeze(index) if len(source.size) > 1 else source.value
    else:
        value = source.value.squeeze()
        if value.dim() == 0 and source.value.numel() == 1 and target is None:
            return number(value)
        value = value.reshape(1) if value.dim() == 0 else value
    if target is not None:
        x.value = value
        return x
    return TensorHandle(value, x.kind)


@method("unsqueeze")
def unsqueeze(engine: Engine, x: TensorHandle, axis: Any) -> TensorHandle:
    """`x:unsqueeze(dimension)`."""
    place = whole(axis)
    if not x.size or not 1 <= place <= len(x.size) + 1:
        raise LuaFault("dimension out of range")
    return TensorHandle(x.value.unsqueeze(place - 1), x.kind)


@method("expand")
@function("expand")
def expand(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:expand([result,] size…)`: dimensions of one element become larger, without memory."""
    target = None
    if arguments and isinstance(arguments[0], TensorHandle):
        target, x, arguments = x, arguments[0], arguments[1:]
    wanted = sizes(arguments)
    engine.bounded(wanted)
    if len(wanted) < len(x.size):
        raise LuaFault("the number of dimensions provided must be greater or equal tensor:nDimension()")
    for had, extent in zip(reversed(x.size), reversed(wanted), strict=False):
        if had not in (1, extent):
            raise LuaFault("incorrect size: only supporting singleton expansion (size=1)")
    value = x.value.expand(wanted)
    if target is None:
        return TensorHandle(value, x.kind)
    target.value = value
    return target


@method("expandAs")
@function("expandAs")
def expand_as(engine: Engine, x: TensorHandle, y: TensorHandle, like: Any = None) -> TensorHandle:
    """`x:expandAs(y)`, `result:expandAs(x, y)`."""
    if isinstance(like, TensorHandle):
        return expand(engine, x, y, *like.size)
    return expand(engine, x, *y.size)


@method("repeatTensor")
@function("repeatTensor")
def repeat_tensor(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:repeatTensor([result,] times…)`."""
    target = None
    if arguments and isinstance(arguments[0], TensorHandle):
        target, x, arguments = x, arguments[0], arguments[1:]
    times = sizes(arguments)
    if len(times) < len(x.size):
        raise LuaFault("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    engine.bounded([*times, *x.size])
    return engine.result(target, flatten_empty(x.value.repeat(times)), x.kind)


@method("split")
@function("split")
def split(engine: Engine, x: TensorHandle, *arguments: Any) -> list[TensorHandle]:
    """`x:split(size, [dimension])`: the parts, in a list."""
    given = [value for value in arguments if not is_table(value)]
    if len(given) < len(arguments):
        raise LuaFault("split into a table that is given isn't implemented")
    axis = dimension(x, given[1]) if len(given) > 1 and given[1] is not None else 0
    if whole(given[0]) < 1:
        raise LuaFault("invalid size for split")
    return [TensorHandle(part, x.kind) for part in torch.split(x.value, whole(given[0]), axis)]


@method("chunk")
@function("chunk")
def chunk(engine: Engine, x: TensorHandle, count: Any, axis: Any = None) -> list[TensorHandle]:
    """`x:chunk(count, [dimension])`."""
    index = dimension(x, 1 if axis is None else axis)
    return split(engine, x, -(-x.size[index] // whole(count)), index + 1)


@method("contiguous")
def contiguous(engine: Engine, x: TensorHandle) -> TensorHandle:
    """`x:contiguous()`: itself if it is."""
    return x if x.value.is_contiguous() else TensorHandle(x.value.contiguous(), x.kind)


@method("clone")
def clone(engine: Engine, x: TensorHandle) -> TensorHandle:
    """`x:clone()`: a copy in memory of its own."""
    return TensorHandle(x.value.clone(memory_format=torch.contiguous_format), x.kind)
