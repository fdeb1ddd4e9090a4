"""Numbers that come from tensors while a layer is recorded: Lua's arithmetic with them, and what can't be recorded."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch

from . import pointwise
from .engine import FUNCTIONS, Engine, function, number, scalar
from .handles import VALUES, LuaFault, NumberHandle, TensorHandle, describe, is_number

#: Its operators are registered first: they are what is extended here.
OF_TENSORS = pointwise


def _arithmetic(name: str, compute: Callable[..., torch.Tensor]) -> None:
    """Lets an operator of Lua take such numbers, beside what it took."""
    of_tensors = FUNCTIONS.get(name)

    def run(engine: Engine, x: Any, y: Any = None) -> Any:
        if isinstance(x, TensorHandle) or isinstance(y, TensorHandle):
            if of_tensors is None:
                raise LuaFault(f"attempt to perform arithmetic on {describe(x)} and {describe(y)}")
            return of_tensors(engine, x, y)
        if not is_number(x) or not is_number(y):
            raise LuaFault(f"attempt to perform arithmetic on {describe(x)} and {describe(y)}")
        return number(compute(scalar(x), scalar(y)))

    FUNCTIONS[name] = run


def _largest(x: Any, y: Any) -> torch.Tensor:
    if isinstance(x, torch.Tensor):
        return torch.maximum(x, y) if isinstance(y, torch.Tensor) else x.clamp(min=y)
    return _largest(y, x)


def _smallest(x: Any, y: Any) -> torch.Tensor:
    if isinstance(x, torch.Tensor):
        return torch.minimum(x, y) if isinstance(y, torch.Tensor) else x.clamp(max=y)
    return _smallest(y, x)


for _name, _compute in (
    ("__add", operator.add),
    ("__sub", operator.sub),
    ("__mul", operator.mul),
    ("__div", operator.truediv),
    ("__pow", operator.pow),
    ("__mod", operator.mod),
    ("__max", _largest),
    ("__min", _smallest),
):
    _arithmetic(_name, _compute)


@function("__asked")
def asked(engine: Engine, *values: Any) -> Any:
    """A comparison, or text, of such a number."""
    for value in values:
        if isinstance(value, NumberHandle):
            raise value.refuse(VALUES)
    raise LuaFault(VALUES)
