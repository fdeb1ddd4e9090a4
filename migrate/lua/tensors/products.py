"""Products of matrices and vectors: mm, addmm, dot, bmm, and what LAPACK computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .engine import Engine, function, inconsistent, listed, method, number, trimmed
from .handles import LuaFault, TensorHandle, describe, is_number

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _batch_sum(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.bmm(x, y).sum(0)


_PRODUCTS: dict[str, tuple[Product, tuple[int, int]]] = {
    "mm": (torch.mm, (2, 2)),
    "mv": (torch.mv, (2, 1)),
    "ger": (torch.outer, (1, 1)),
    "bmm": (torch.bmm, (3, 3)),
}


def _checked(name: str, ranks: tuple[int, int], x: TensorHandle, y: TensorHandle) -> None:
    if x.kind != y.kind:
        raise LuaFault(f"invalid arguments: {describe(x)} {describe(y)} for {name}")
    if (len(x.size), len(y.size)) != ranks:
        raise LuaFault(
            f"{name} expects tensors of {ranks[0]} and {ranks[1]} dimensions, got {len(x.size)}D, {len(y.size)}D"
        )
    inner = x.size[-1] if ranks != (1, 1) else None
    if inner is not None and inner != y.size[-2 if ranks[1] > 1 else 0]:
        raise LuaFault(f"size mismatch, m1: {listed(x.size)}, m2: {listed(y.size)}")


def _product(name: str) -> Any:
    compute, ranks = _PRODUCTS[name]

    def run(engine: Engine, *arguments: Any) -> TensorHandle:
        given = trimmed(arguments)
        if not all(isinstance(value, TensorHandle) for value in given) or len(given) not in (2, 3):
            raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for {name}")
        target = given[0] if len(given) == 3 else None
        x, y = given[-2:]
        _checked(name, ranks, x, y)
        return engine.result(target, compute(x.value, y.value), x.kind)

    return run


for _name in _PRODUCTS:
    _run = _product(_name)
    method(_name)(_run)
    function(_name)(_run)

_ADDED: dict[str, tuple[Product, tuple[int, int]]] = {
    "addmm": (torch.mm, (2, 2)),
    "addmv": (torch.mv, (2, 1)),
    "addr": (torch.outer, (1, 1)),
    "baddbmm": (torch.bmm, (3, 3)),
    "addbmm": (_batch_sum, (3, 3)),
}


def _weights(name: str, given: list[Any], in_place: bool) -> tuple[float, float]:
    """The factors of what is added to and of the product, wherever they stand."""
    places = [index for index, value in enumerate(given) if isinstance(value, TensorHandle)]
    base = places[-3] if len(places) > 2 else places[0]
    before = [value for value in given[:base] if is_number(value)]
    between = [value for value in given[base + 1 : places[-2]] if is_number(value)]
    # x:addmm(beta, alpha, a, b) and x:addmm(beta, a, alpha, b)
    if in_place and len(between) == 2:
        return float(between[0]), float(between[1])
    middle = [value for value in given[places[-2] + 1 : places[-1]] if is_number(value)]
    if middle:
        raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for {name}")
    return float(before[-1]) if before else 1.0, float(between[-1]) if between else 1.0


def _added(name: str, in_place: bool) -> Any:
    compute, ranks = _ADDED[name]

    def run(engine: Engine, *arguments: Any) -> TensorHandle:
        given = trimmed(arguments)
        tensors = [value for value in given if isinstance(value, TensorHandle)]
        if len(tensors) not in (3, 4) or any(not isinstance(v, TensorHandle) and not is_number(v) for v in given):
            raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for {name}")
        beta, alpha = _weights(name, given, in_place)
        base, x, y = tensors[-3:]
        target = tensors[0] if len(tensors) == 4 or in_place else None
        _checked(name, ranks, x, y)
        value = alpha * compute(x.value, y.value)
        if tuple(value.shape) != base.size:
            raise LuaFault(f"size mismatch, {list(base.size)} and {list(value.shape)} in {name}")
        if beta != 0:
            value = beta * base.value + value
        return engine.result(target, value, x.kind)

    return run


for _name in _ADDED:
    method(_name)(_added(_name, True))
    function(_name)(_added(_name, False))


@method("dot")
@function("dot")
def dot(engine: Engine, x: TensorHandle, y: TensorHandle) -> Any:
    """`x:dot(y)`: the sum of the products of all elements."""
    if x.value.numel() != y.value.numel() or x.kind != y.kind:
        raise inconsistent(x.size, y.size)
    return number(torch.dot(x.value.reshape(-1), y.value.reshape(-1)))


@function("inverse")
def inverse(engine: Engine, *arguments: Any) -> TensorHandle:
    """`torch.inverse([res,] x)`."""
    *targets, x = trimmed(arguments)
    return engine.result(targets[0] if targets else None, torch.linalg.inv(x.value), x.kind)


@function("qr")
def qr(engine: Engine, x: TensorHandle) -> tuple[TensorHandle, TensorHandle]:
    """`torch.qr(x)`."""
    q, r = torch.linalg.qr(x.value)
    return TensorHandle(q, x.kind), TensorHandle(r, x.kind)


@function("svd")
def svd(engine: Engine, x: TensorHandle, *_: Any) -> tuple[TensorHandle, TensorHandle, TensorHandle]:
    """`torch.svd(x)`."""
    u, s, v = torch.svd(x.value)
    return TensorHandle(u, x.kind), TensorHandle(s, x.kind), TensorHandle(v, x.kind)
