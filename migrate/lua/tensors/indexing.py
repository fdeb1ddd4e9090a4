"""Elements and parts by index: x[i], x[{…}], index, gather, scatter, masks."""

from __future__ import annotations

from typing import Any

import torch

from .engine import (
    Engine,
    dimension,
    flatten_empty,
    function,
    inconsistent,
    method,
    number,
    tensor_argument,
    write_number,
)
from .handles import LuaFault, NumberHandle, StorageHandle, TensorHandle, describe, entries, is_number, is_table, whole


def _place(index: Any, extent: int, words: str = "index out of bound") -> int:
    """An index from 1, or from the end if negative, as PyTorch counts it."""
    at = whole(index)
    at = extent + at + 1 if at < 0 else at
    if not 1 <= at <= extent:
        raise LuaFault(words)
    return at - 1


def _part(x: TensorHandle, spec: Any) -> torch.Tensor:
    """x[{…}]: an index or a range for each dimension."""
    value, axis = x.value, 0
    for entry in entries(spec):
        if axis >= value.dim():
            raise LuaFault("too many indices provided")
        if isinstance(entry, NumberHandle):
            value = _row(value, axis, entry)
        elif is_number(entry):
            value = value.select(axis, _place(entry, value.shape[axis]))
        elif is_table(entry):
            bounds = entries(entry)
            if bounds:
                first = _place(bounds[0], value.shape[axis])
                last = _place(bounds[1], value.shape[axis]) if len(bounds) > 1 else first
                if last < first:
                    raise LuaFault("end index must be greater or equal to start index")
                value = value.narrow(axis, first, last - first + 1)
            axis += 1
        else:
            raise LuaFault(f"invalid index: {describe(entry)}")
    return value


def _chosen(key: NumberHandle, extent: int) -> torch.Tensor:
    """An index from 1 that comes from the numbers of a tensor, as one of PyTorch's."""
    place = key.value.long().reshape(1) - 1
    if not 0 <= int(place.detach()) < extent:  # nothing of it goes to Lua
        raise LuaFault("index out of bound")
    return place


def _row(value: torch.Tensor, axis: int, key: NumberHandle) -> torch.Tensor:
    """The part at such an index; it is no view, and what is expanded can't be written to."""
    size = (*value.shape[:axis], *value.shape[axis + 1 :])
    return value.index_select(axis, _chosen(key, value.shape[axis])).reshape(size).expand(size)


def _addressed(x: TensorHandle, key: Any) -> torch.Tensor:
    """What a key other than a mask stands for."""
    if not x.size:
        raise LuaFault("empty tensor")
    if isinstance(key, NumberHandle):
        return _row(x.value, 0, key)
    if is_number(key):
        return x.value.select(0, _place(key, x.size[0], "out of range"))
    if isinstance(key, StorageHandle):
        given = key.value.tolist()
        if len(given) != len(x.size):
            raise LuaFault("invalid size")
        return x.value[tuple(_place(at, extent) for at, extent in zip(given, x.size, strict=True))]
    if is_table(key):
        return _part(x, key)
    raise LuaFault(f"invalid index: {describe(key)}")


@method("__get")
def get(engine: Engine, x: TensorHandle, key: Any) -> Any:
    """`x[key]`: a number, or a view."""
    if isinstance(key, TensorHandle):
        return masked_select(engine, x, key)
    value = _addressed(x, key)
    return number(value) if value.dim() == 0 else TensorHandle(value, x.kind)


@method("__set")
def put(engine: Engine, x: TensorHandle, key: Any, given: Any) -> None:
    """`x[key] = number` or a tensor with as many elements."""
    if isinstance(key, TensorHandle):
        if isinstance(given, TensorHandle):
            masked_copy(engine, x, key, given)
        else:
            masked_fill(engine, x, key, given)
        return
    if isinstance(key, NumberHandle):
        _put_row(x.value, key, given)
        return
    value = _addressed(x, key)
    if isinstance(given, TensorHandle):
        if given.value.numel() != value.numel():
            raise inconsistent((1,) * (len(x.size) - value.dim()) + tuple(value.shape), given.size)
        value.copy_(given.value.reshape(value.shape))
    elif isinstance(given, StorageHandle):
        if len(given.value) != value.numel():
            raise LuaFault("inconsistent tensor size")
        value.copy_(given.value.reshape(value.shape))
    elif is_number(given):
        write_number(value, given)
    else:
        raise LuaFault(f"invalid arguments: a number or tensor expected, got {describe(given)}")


@method("__length")
def length(_engine: Engine, x: TensorHandle) -> int:
    """How many places a tensor of one dimension has; 0 for others."""
    return x.size[0] if len(x.size) == 1 else 0


@method("__set_many")
def put_many(engine: Engine, x: TensorHandle, count: Any, places: Any, numbers: Any) -> None:
    """`x[place] = number` for many places of a tensor of one dimension, in their order."""
    given = dict(zip(entries(places)[: int(count)], entries(numbers)[: int(count)], strict=True))  # the last one stays
    values = torch.tensor(list(given.values()), dtype=torch.float64)
    if x.value.is_floating_point() or (values == values.to(x.value.dtype)).all():
        x.value[torch.tensor(list(given), dtype=torch.int64) - 1] = values.to(x.value.dtype)
        return
    for place, number_ in given.items():
        put(engine, x, place, number_)


def _put_row(value: torch.Tensor, key: NumberHandle, given: Any) -> None:
    """`x[number] = given`, where the number comes from those of a tensor."""
    place = _chosen(key, value.shape[0])
    if isinstance(given, (TensorHandle, NumberHandle)):
        value.index_copy_(0, place, given.value.to(value.dtype).reshape(1, *value.shape[1:]))
    elif is_number(given):
        value.index_fill_(0, place, given)
    else:
        raise LuaFault(f"invalid arguments: a number or tensor expected, got {describe(given)}")


def _indices(engine: Engine, index: Any, extent: int) -> torch.Tensor:
    """A LongTensor of indices from 1, checked."""
    handle = tensor_argument(index, "index")
    engine.expect(handle, "Long")
    places = handle.value.long() - 1
    checked = places.detach()  # nothing of these numbers goes to Lua
    if checked.numel() and (int(checked.min()) < 0 or int(checked.max()) >= extent):
        raise LuaFault("index out of range")
    return places


def _with_target(x: TensorHandle, arguments: tuple[Any, ...]) -> tuple[TensorHandle | None, TensorHandle, list[Any]]:
    """`res:f(x, axis, …)` or `x:f(axis, …)`."""
    if arguments and isinstance(arguments[0], TensorHandle):
        return x, arguments[0], list(arguments[1:])
    return None, x, list(arguments)


@method("index")
@function("index")
def index_select(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:index(dimension, indices)`."""
    target, source, (axis, index) = _with_target(x, arguments)
    at = dimension(source, axis)
    value = source.value.index_select(at, _indices(engine, index, source.size[at]).reshape(-1))
    return engine.result(target, value, source.kind)


@method("indexCopy")
def index_copy(engine: Engine, x: TensorHandle, axis: Any, index: Any, y: TensorHandle) -> TensorHandle:
    """`x:indexCopy(dimension, indices, y)`: gives y back, as Torch7 does."""
    at = dimension(x, axis)
    x.value.index_copy_(at, _indices(engine, index, x.size[at]), tensor_argument(y, "indexCopy").value)
    return y


@method("indexAdd")
def index_add(engine: Engine, x: TensorHandle, axis: Any, index: Any, y: TensorHandle) -> TensorHandle:
    """`x:indexAdd(dimension, indices, y)`: gives y back, as Torch7 does."""
    at = dimension(x, axis)
    x.value.index_add_(at, _indices(engine, index, x.size[at]), tensor_argument(y, "indexAdd").value)
    return y


@method("indexFill")
def index_fill(engine: Engine, x: TensorHandle, axis: Any, index: Any, value: Any) -> Any:
    """`x:indexFill(dimension, indices, number)`: gives the number back, as Torch7 does."""
    at = dimension(x, axis)
    x.value.index_fill_(at, _indices(engine, index, x.size[at]), value)
    return value


@method("gather")
@function("gather")
def gather(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:gather(dimension, indices)`."""
    target, source, (axis, index) = _with_target(x, arguments)
    at = dimension(source, axis)
    return engine.result(target, source.value.gather(at, _indices(engine, index, source.size[at])), source.kind)


@method("scatter")
def scatter(engine: Engine, x: TensorHandle, axis: Any, index: Any, given: Any) -> TensorHandle:
    """`x:scatter(dimension, indices, tensor or number)`."""
    at = dimension(x, axis)
    places = _indices(engine, index, x.size[at])
    x.value.scatter_(at, places, given.value if isinstance(given, TensorHandle) else given)
    return x


def _mask(engine: Engine, x: TensorHandle, mask: Any) -> torch.Tensor:
    handle = tensor_argument(mask, "mask")
    engine.expect(handle, "Byte")
    chosen = handle.value.bool()
    if chosen.numel() != x.value.numel():
        raise LuaFault("mask size does not match the tensor's")
    return chosen.reshape(x.value.shape)


@method("maskedFill")
def masked_fill(engine: Engine, x: TensorHandle, mask: Any, value: Any) -> Any:
    """`x:maskedFill(mask, number)`: gives the number back, as Torch7 does."""
    x.value.masked_fill_(_mask(engine, x, mask), value)
    return value


@method("maskedCopy")
def masked_copy(engine: Engine, x: TensorHandle, mask: Any, y: TensorHandle) -> TensorHandle:
    """`x:maskedCopy(mask, y)`."""
    chosen = _mask(engine, x, mask)
    source = tensor_argument(y, "maskedCopy").value
    if int(chosen.detach().sum()) > source.numel():
        raise LuaFault("Number of elements of src < number of ones in mask")
    x.value.masked_scatter_(chosen, source.to(x.value.dtype))
    return x


@method("maskedSelect")
@function("maskedSelect")
def masked_select(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:maskedSelect(mask)`."""
    target, source, (mask, *_) = _with_target(x, arguments) if len(arguments) > 1 else (None, x, list(arguments))
    return engine.result(target, flatten_empty(source.value[_mask(engine, source, mask)]), source.kind)


@method("nonzero")
@function("nonzero")
def nonzero(engine: Engine, x: TensorHandle) -> TensorHandle:
    """`x:nonzero()`: a LongTensor with a row for each."""
    return TensorHandle(flatten_empty(x.value.nonzero() + 1), "Long")
