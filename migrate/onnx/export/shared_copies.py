"""Copies of a module that share its weights, so that an export needs no second copy of them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ...model.conversion import Conversion
from ...t7 import Tensor
from ...t7.memory_map import release_pages


def shared_copy(module: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy in eval mode whose parameters and buffers are those of `module`, or casts of them.

    Args:
        module: stays as it is.
        dtype: type of the floating numbers; None: as they are. Only tensors of another type are copied.
    """
    changing = {id(part.weight) for part in module.modules() if getattr(part, "max_norm", None)}
    memo: dict[int, Any] = {}
    for tensor in [*module.parameters(), *module.buffers()]:
        made = tensor.detach()
        if dtype is not None and made.is_floating_point():
            made = made.to(dtype)
        if id(tensor) in changing:
            made = made.clone()  # a lookup, as nn.Embedding, scales its rows in place when it runs
        memo[id(tensor)] = nn.Parameter(made, requires_grad=False) if isinstance(tensor, nn.Parameter) else made
    return copy.deepcopy(module, memo).eval()


def release_file(conv: Conversion) -> None:
    """Lets go of the pages of the mapped file that the model was read from; they come back when they are read."""
    for record in conv.layers:
        for _, value in record.object.items():  # noqa: PERF102 - it has no values()
            if isinstance(value, Tensor):
                release_pages(value)
