"""Modules of torch.nn that do what a module of a converted model does, and what the parts of a module are given."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import apply
from ..model.recurrent_state import forget
from ..model.registry import ENTRY_POINTS, form_of
from ..shapes.dry_run import run
from .check import same


def first_input(module: nn.Module, child: nn.Module, value: Any) -> Any:
    """What `module` gives `child` when it runs it first; None if it does not run it."""
    seen: list[Any] = []

    def keep(_: nn.Module, args: tuple[Any, ...]) -> None:
        seen.append(apply(args[0], torch.clone))

    with child.register_forward_pre_hook(keep):
        run(module, apply(value, torch.clone))
    forget(module)
    return seen[0] if seen else None


def stock_module(module: nn.Module, inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> nn.Module:
    """A stock module with the same tensors that gives the same bits, else the module itself.

    Args:
        module: any module of a converted model, in evaluation mode.
        inputs: what it got, at two batch sizes or more.
        outputs: what it gave.
    """
    if len(inputs) < 2 or type(module).__module__.startswith("torch."):
        return module
    if not all(isinstance(x, torch.Tensor) for x in [*inputs, *outputs]):
        return module
    form = form_of("stock", module)
    stock = _parent(module) if form is None else form(module, inputs[0])
    if stock is None:
        return module
    stock.eval()
    try:
        alike = all(same(stock(apply(x, torch.clone)), y) for x, y in zip(inputs, outputs, strict=True))
    except (RuntimeError, ValueError, IndexError):
        return module
    return stock if alike else module


def _parent(module: nn.Module) -> nn.Module | None:
    """The same module without what its class adds to one of torch.nn, if the class is none of a user's own."""
    if not type(module).__module__.startswith(f"{ENTRY_POINTS}."):
        return None  # what it does in training can't be seen
    base = type(module).__mro__[1]
    if not base.__module__.startswith("torch.nn.modules") or base in (nn.Module, nn.ModuleList, nn.Sequential):
        return None
    stock = copy.copy(module)
    stock.__class__ = base
    return stock
