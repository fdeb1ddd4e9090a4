"""Joins of tensors of different sizes, with zeros around the smaller ones."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ..expressions import Value, python
from ..scopes import Scope, examples_of


def fillings(tensors: list[torch.Tensor], dim: int) -> list[tuple[int, ...]]:
    """The zeros missing around each of several tensors that are joined along a dimension, as `F.pad` takes them."""
    missing = []
    for tensor in tensors:
        pads: list[int] = []
        for d in reversed(range(tensor.dim())):
            count = 0 if d == dim else max(other.shape[d] for other in tensors) - tensor.shape[d]
            pads += [count // 2, count - count // 2]
        while pads and pads[-2:] == [0, 0]:
            del pads[-2:]
        missing.append(tuple(pads))
    return missing


def filled(parts: list[Value], dim: int, scope: Scope) -> list[Value]:
    """Values with the zeros around them that they lack."""
    found = []
    for part, pads in zip(parts, fillings(examples_of(parts)[0], dim), strict=True):
        values = tuple(F.pad(value, pads) for value in part.values)
        found.append(scope.assign(python("F.pad(x, pads)", x=part, pads=pads), values) if pads else part)
    return found
