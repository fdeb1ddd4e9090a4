"""Compares tensors with what a reference keeps of one that was too large: first numbers, mean, deviation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from ...base.tensor_trees import leaves
from ..judge.compare import Difference, Noise, Tolerance, compare
from ..judge.tolerances import ROUNDING
from ..reference_numbers import TensorSummary

#: Rounding averages out: the mean and the deviation of many numbers may be off by this share of what one of them may.
_OF_AN_AVERAGE = 1 / 8


def summary_of(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """The first elements, the mean and the deviation of a tensor, in float64."""
    numbers = tensor.detach().cpu().double().reshape(-1)
    spread = numbers.std() if len(numbers) > 1 else torch.zeros((), dtype=torch.float64)
    return torch.cat([numbers[:count], torch.stack([numbers.mean(), spread])])


def average_tolerance(expected: TensorSummary, tolerance: Tolerance, moved: float) -> float:
    """How far the mean and the deviation may be off.

    Rounding averages out, but for what all numbers share, such as the rounding of a weight; and a float32 Torch7 may
    have added the numbers up in float32.

    Args:
        expected: the summary.
        tolerance: of one number.
        moved: the mean of the rounding noise of all numbers; 0 if it is not known.
    """
    most = tolerance.absolute(math.hypot(expected.mean, expected.std))
    count = math.prod(expected.size)
    single = expected.head.dtype == torch.float32
    added = ROUNDING[torch.float32] * math.sqrt(count) * abs(expected.mean) if single else 0.0
    return max(_OF_AN_AVERAGE * most, min(max(tolerance.rounding * moved, added), most))


def compare_summary(
    output: Any, expected: TensorSummary, tolerance: Tolerance, noise: Noise | None = None
) -> Difference:
    """Compares the first elements, the mean and the deviation, all relative to the size that the numbers have.

    A single wrong number among many shows in the mean and the deviation only, and there little.
    """
    tensors = [tensor for _, tensor in leaves(output)]
    if len(tensors) != 1 or tuple(tensors[0].shape) != expected.size:
        sizes = [tuple(tensor.shape) for tensor in tensors]
        return Difference("", False, f"its shape is {sizes}, the reference's {expected.size}", expected.size)
    count = len(expected.head)
    known = torch.cat([expected.head.double(), torch.tensor([expected.mean, expected.std], dtype=torch.float64)])
    ours = summary_of(tensors[0], count)
    (found,) = compare(ours, known, tolerance)
    if not found.passed or not tolerance.relative_to_largest:
        return found
    narrow = replace(tolerance, atol=average_tolerance(expected, tolerance, 0.0), relative_to_largest=False)
    (averages,) = compare(ours[-2:], known[-2:], narrow)
    for step in () if averages.passed or noise is None else noise():
        moved = [float(behind.double().mean()) for _, behind in leaves(step)]
        narrow = replace(narrow, atol=average_tolerance(expected, tolerance, moved[0])) if moved else narrow
        (averages,) = compare(ours[-2:], known[-2:], narrow)
        if averages.passed:
            break
    if not averages.passed:
        which = "mean" if averages.worst == (0,) else "deviation"
        problem = f"the {which} of its {tensors[0].numel()} numbers differs by more than {narrow.atol:.3g}"
        return replace(averages, problem=problem)
    return max(found, averages, key=_used)


def _used(difference: Difference) -> float:
    """The share of the tolerance that a difference needs."""
    return difference.needed_atol / difference.atol if difference.atol else 0.0
