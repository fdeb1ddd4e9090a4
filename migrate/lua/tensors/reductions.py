"""Sums, means, largest elements, sorting: over all elements, or along one dimension, which stays with size 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .engine import Engine, dimension, flatten_empty, function, method, number, trimmed
from .handles import DTYPES, LuaFault, TensorHandle, describe, is_number, whole
from .selecting import selected

Along = Callable[..., torch.Tensor]


def _split(
    name: str, arguments: tuple[Any, ...], outputs: int = 1
) -> tuple[list[TensorHandle], TensorHandle, list[Any]]:
    """The results that come first, the source, and the rest."""
    given = trimmed(arguments)
    tensors = 0
    while tensors < len(given) and isinstance(given[tensors], TensorHandle):
        tensors += 1
    if not 1 <= tensors <= outputs + 1:
        raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for {name}")
    source = given[tensors - 1]
    if not source.value.numel():
        raise LuaFault("tensor must have one dimension")
    return given[: tensors - 1], source, given[tensors:]


def _wide(value: torch.Tensor) -> torch.Tensor:
    """Torch7 sums floats in doubles, and whole numbers in longs."""
    return value.double() if value.is_floating_point() else value.long()


def _both(name: str, run: Any) -> None:
    method(name)(run)
    function(name)(run)


def _reduction(name: str, all_of: Callable[[torch.Tensor], torch.Tensor], along: Along) -> None:
    def run(engine: Engine, *arguments: Any) -> Any:
        targets, source, rest = _split(name, arguments)
        wide = _wide(source.value)
        if not rest:
            if targets:
                raise LuaFault(f"invalid arguments for {name}")
            return number(all_of(wide))
        value = along(wide, dimension(source, rest[0]), *rest[1:]).to(DTYPES[source.kind])
        return engine.result(targets[0] if targets else None, value, source.kind)

    _both(name, run)


def _sum(x: torch.Tensor, axis: int) -> torch.Tensor:
    return x.sum(axis, keepdim=True)


def _mean(x: torch.Tensor, axis: int) -> torch.Tensor:
    total = x.sum(axis, keepdim=True)
    return total / x.shape[axis] if x.is_floating_point() else total // x.shape[axis]


def _mean_all(x: torch.Tensor) -> torch.Tensor:
    return x.double().mean() if x.is_floating_point() else torch.div(x.sum(), x.numel(), rounding_mode="trunc")


def _product(x: torch.Tensor, axis: int) -> torch.Tensor:
    return x.prod(axis, keepdim=True)


def _deviation(x: torch.Tensor, axis: int, biased: Any = False) -> torch.Tensor:
    return x.double().std(axis, correction=0 if biased else 1, keepdim=True)


def _variance(x: torch.Tensor, axis: int, biased: Any = False) -> torch.Tensor:
    return x.double().var(axis, correction=0 if biased else 1, keepdim=True)


def _std_all(x: torch.Tensor) -> torch.Tensor:
    return x.double().std()


def _var_all(x: torch.Tensor) -> torch.Tensor:
    return x.double().var()


for _name, _all, _along in (
    ("sum", torch.sum, _sum),
    ("mean", _mean_all, _mean),
    ("prod", torch.prod, _product),
    ("std", _std_all, _deviation),
    ("var", _var_all, _variance),
):
    _reduction(_name, _all, _along)


@method("norm")
@function("norm")
def norm(engine: Engine, *arguments: Any) -> Any:
    """`x:norm([p, [dimension]])`."""
    targets, source, rest = _split("norm", arguments)
    power = float(rest[0]) if rest else 2.0
    wide = source.value.double()
    if len(rest) < 2:
        return number(torch.linalg.vector_norm(wide, power))
    axis = dimension(source, rest[1])
    value = torch.linalg.vector_norm(wide, power, axis, keepdim=True).to(DTYPES[source.kind])
    return engine.result(targets[0] if targets else None, value, source.kind)


@method("dist")
@function("dist")
def dist(engine: Engine, x: TensorHandle, y: TensorHandle, power: Any = 2) -> Any:
    """`torch.dist(x, y, [p])`."""
    return number(torch.linalg.vector_norm((x.value.double() - y.value.double()).reshape(-1), float(power)))


@method("trace")
@function("trace")
def trace(engine: Engine, x: TensorHandle) -> Any:
    """`torch.trace(x)`."""
    if len(x.size) != 2:
        raise LuaFault("not a matrix")
    return number(_wide(x.value).trace())


def _index_kind(source: TensorHandle) -> str:
    return "CudaLong" if source.kind.startswith("Cuda") else "Long"


def _give_pair(
    engine: Engine, targets: list[TensorHandle], source: TensorHandle, values: torch.Tensor, places: torch.Tensor
) -> tuple[TensorHandle, TensorHandle]:
    first = engine.result(targets[0] if targets else None, values, source.kind)
    second = engine.result(targets[1] if len(targets) > 1 else None, places + 1, _index_kind(source))
    return first, second


def _extreme(name: str, find: Any, find_all: Any) -> None:
    def run(engine: Engine, *arguments: Any) -> Any:
        targets, source, rest = _split(name, arguments, 2)
        if not rest:
            if targets:
                raise LuaFault(f"invalid arguments for {name}")
            return number(find_all(source.value))
        values, places = find(source.value, dimension(source, rest[0]), keepdim=True)
        return _give_pair(engine, targets, source, values, places)

    _both(name, run)


_extreme("max", torch.max, torch.max)
_extreme("min", torch.min, torch.min)


def _ranking(name: str, find: Any) -> None:
    def run(engine: Engine, *arguments: Any) -> Any:
        targets, source, rest = _split(name, arguments, 2)
        values, places = find(source, rest)
        return _give_pair(engine, targets, source, values, places)

    _both(name, run)


def _axis(source: TensorHandle, rest: list[Any], position: int) -> int:
    given = rest[position] if len(rest) > position and is_number(rest[position]) else len(source.size)
    return dimension(source, given)


def _sorted(source: TensorHandle, rest: list[Any]) -> Any:
    return torch.sort(source.value, dim=_axis(source, rest, 0), descending=bool(rest) and rest[-1] is True, stable=True)


def _median(source: TensorHandle, rest: list[Any]) -> Any:
    return torch.median(source.value, _axis(source, rest, 0), keepdim=True)


def _mode(source: TensorHandle, rest: list[Any]) -> Any:
    return torch.mode(source.value, _axis(source, rest, 0), keepdim=True)


def _kth(source: TensorHandle, rest: list[Any]) -> Any:
    return torch.kthvalue(source.value, whole(rest[0]), _axis(source, rest, 1), keepdim=True)


for _name, _find in (("sort", _sorted), ("median", _median), ("mode", _mode), ("kthvalue", _kth)):
    _ranking(_name, _find)


def _topk(engine: Engine, *arguments: Any) -> Any:
    """`torch.topk(x, k, dimension, largest, sorted)`: unless it is to sort, in an order that Torch7 leaves open."""
    targets, source, rest = _split("topk", arguments, 2)
    count, axis = whole(rest[0]) if rest else 1, _axis(source, rest, 1)
    flags = [value for value in rest if isinstance(value, bool)]
    largest, in_order = flags[:1] == [True], count == 1 or flags[1:2] == [True]
    values, places = torch.topk(source.value, count, axis, largest=largest, sorted=True)
    if in_order:
        return _give_pair(engine, targets, source, values, places)
    engine.asked = True
    if engine.orders is None:  # as it comes on a CPU
        along = source.value.transpose(axis, -1)
        if bool(along.isnan().any()):
            raise LuaFault("topk of NaN without sorting is not known")
        places = selected(along, count, largest).transpose(axis, -1)
        values = source.value.gather(axis, places)
    elif engine.orders < 0:
        values, places = values.flip(axis), places.flip(axis)
    return _give_pair(engine, targets, source, values, places)


_both("topk", _topk)


def _cumulative(name: str, compute: Any) -> None:
    def run(engine: Engine, *arguments: Any) -> TensorHandle:
        targets, source, rest = _split(name, arguments)
        value = compute(_wide(source.value), _axis(source, rest or [1], 0)).to(DTYPES[source.kind])
        return engine.result(targets[0] if targets else None, value, source.kind)

    _both(name, run)


_cumulative("cumsum", torch.cumsum)
_cumulative("cumprod", torch.cumprod)


def _of_bytes(name: str, find: Any) -> None:
    def run(engine: Engine, x: TensorHandle) -> bool:
        if not x.kind.endswith("Byte"):
            raise LuaFault(f"{name} is for ByteTensor only")
        return bool(find(x.value != 0))

    _both(name, run)


_of_bytes("all", torch.all)
_of_bytes("any", torch.any)


def _triangle(name: str, compute: Any) -> None:
    def run(engine: Engine, *arguments: Any) -> TensorHandle:
        targets, source, rest = _split(name, arguments)
        value = compute(source.value, whole(rest[0]) if rest else 0)
        return engine.result(targets[0] if targets else None, flatten_empty(value.clone()), source.kind)

    _both(name, run)


for _name, _compute in (("tril", torch.tril), ("triu", torch.triu), ("diag", torch.diag)):
    _triangle(_name, _compute)


@method("renorm")
@function("renorm")
def renorm(engine: Engine, *arguments: Any) -> TensorHandle:
    """`torch.renorm([res,] x, p, dimension, maxnorm)`."""
    targets, source, (power, axis, most) = _split("renorm", arguments)
    value = torch.renorm(source.value, float(power), dimension(source, axis), float(most))
    return engine.result(targets[0] if targets else None, value, source.kind)
