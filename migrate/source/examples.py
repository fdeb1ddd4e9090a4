"""Example inputs that show which sizes of a model are fixed, and which may be others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ..base.tensor_trees import apply, leaves
from ..model.conversion import ConvertedModel
from ..shapes.dry_run import answer_of, on_meta, run


@dataclass(frozen=True)
class Example:
    """An input of a model, and what the model gives (with the random numbers of seed 0)."""

    input: Any
    output: Any


def several_sizes(conv: ConvertedModel, value: Any) -> list[Example]:
    """An input, and larger ones: one more sample, then each other axis doubled (or one more) where the model allows it.

    Args:
        conv: the converted model.
        value: a tensor or nested list that the model accepts.
    """
    first = _ran(conv, value)
    found = [first]
    sizes_only = on_meta(conv.module)
    for axis in range(max((tensor.dim() for _, tensor in leaves(value)), default=0)):
        for doubled in (True, False) if axis > 0 else (False,):
            larger = apply(value, partial(_extended, axis, doubled))
            answer = answer_of(conv.module, sizes_only, larger, partial(apply, larger, torch.clone))
            if answer is None or (axis > 0 and _mixes(first, answer)):
                continue
            try:
                found.append(_ran(conv, larger))
            except Exception:  # whatever a layer raises on a size that it does not take
                continue
            break
    return found


def _ran(conv: ConvertedModel, value: Any) -> Example:
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        return Example(value, run(conv.module, apply(value, torch.clone)))


def _mixes(first: Example, larger: Any) -> bool:
    """Did the number of samples change with their size, as behind a View of fixed size?"""
    batches = {tensor.shape[:1] for _, tensor in leaves(first.input)}
    before, after = ([tensor.shape[:1] for _, tensor in leaves(output)] for output in (first.output, larger))
    return set(before) == batches and len(before) == len(after) and before != after


def _extended(axis: int, doubled: bool, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with itself, or only its last part, behind it along an axis, where it has that."""
    if tensor.dim() <= axis:
        return tensor
    more = tensor if doubled else tensor.narrow(axis, tensor.shape[axis] - 1, 1)
    return torch.cat([tensor, more], axis)
