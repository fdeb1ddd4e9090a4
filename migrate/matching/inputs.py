"""The input of the model as the network to be filled takes it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..base.errors import UsageError
from ..base.tensor_trees import moved, shapes
from ..model.conversion import ConvertedModel
from ..shapes.random_input import indexed_leaves


def target_inputs(conv: ConvertedModel, value: Any, module: nn.Module) -> list[Any]:
    """The arguments of the target: float64, indices from 0; a table as several arguments, or else as a list.

    Raises:
        UsageError: its `forward` takes another number of arguments.
    """
    indices = [tensor for tensor, _ in indexed_leaves(conv, value)]
    given = _from_zero(moved(value, torch.float64), value, indices)
    takes = inspect.signature(module.forward)
    for arguments in [given, [given]] if isinstance(given, list) else [[given]]:
        try:
            takes.bind(*arguments)
        except TypeError:
            continue
        return list(arguments)
    raise UsageError(
        f"forward{takes} of the target can't take the input of the .t7 file, {shapes(value)}. "
        "Wrap the target in a module whose forward takes that: a tensor, or one argument for each entry of a table."
    )


def _from_zero(value: Any, original: Any, indices: list[torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_from_zero(item, was, indices) for item, was in zip(value, original, strict=True)]
    return value.long() - 1 if any(original is tensor for tensor in indices) else value


@contextmanager
def float64_by_default() -> Iterator[None]:
    """Tensors that a `forward` makes itself, such as a state of zeros, have the type of the weights."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
