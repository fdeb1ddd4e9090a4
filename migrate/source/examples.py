"""Example inputs that show which sizes of a model are fixed, and which may be others."""

from __future__ import annotations

from typing import Any

import torch

from ..conversion import Conversion
from ..nested import apply, leaves
from ..shapes import run


def several_sizes(conv: Conversion, value: Any) -> list[Any]:
    """An input, and larger ones: one more sample, then each other axis doubled (or one more) where the model allows it.

    Args:
        conv: the converted model.
        value: a tensor or nested list that the model accepts.
    """
    found = [value]
    with torch.no_grad():
        answer = run(conv.module, apply(value, torch.clone))
    for axis in range(max((tensor.dim() for _, tensor in leaves(value)), default=0)):
        for change in (_Longer(axis),) if axis == 0 else (_Doubled(axis), _Longer(axis)):
            larger = apply(value, change)
            try:
                with torch.no_grad():
                    output = run(conv.module, apply(larger, torch.clone))
            except Exception:  # whatever a layer raises on a size that it does not take
                continue
            if axis == 0 or not _mixes(value, answer, output):
                found.append(larger)
                break
    return found


def _mixes(value: Any, answer: Any, output: Any) -> bool:
    """Did the number of samples change with their size, as behind a View of fixed size?"""
    batches = {tensor.shape[:1] for _, tensor in leaves(value)}
    before, after = ([tensor.shape[:1] for _, tensor in leaves(item)] for item in (answer, output))
    return set(before) == batches and len(before) == len(after) and before != after


class _Longer:
    """Repeats the last part of a tensor along an axis, if it has that axis."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() <= self.axis:
            return tensor
        return torch.cat([tensor, tensor.narrow(self.axis, tensor.shape[self.axis] - 1, 1)], self.axis)


class _Doubled:
    """Repeats a tensor along an axis, if it has that axis."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if tensor.dim() <= self.axis else torch.cat([tensor, tensor], self.axis)
