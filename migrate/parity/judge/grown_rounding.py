"""Differences that rounding alone makes in networks that amplify it: no failure, and no proof of anything either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from ...base.tensor_slices import explained_by_noise
from ...base.tensor_trees import leaves, position
from .compare import Difference, Noise, Tolerance


def explained(
    got: Any, expected: Any, found: Sequence[Difference], tolerance: Tolerance, growth: Noise
) -> list[Difference]:
    """The same differences; one that the growth of rounding explains is no failure any more, and says so.

    Args:
        got: what is judged.
        expected: the reference.
        found: what `compare` says of the two.
        tolerance: the rule.
        growth: gives how far rounding moves each number, nested alike, without a limit and step by step.
    """
    ours, theirs = ({position(place): tensor for place, tensor in leaves(value)} for value in (got, expected))
    numbers = {place: number for number, place in enumerate(theirs)}
    made = []
    for difference in found:
        a, b = ours.get(difference.place), theirs.get(difference.place)
        if a is None or b is None or a.numel() != b.numel() or not _may_be(difference, tolerance):
            made.append(difference)
            continue
        noise = partial(_of_output, growth, numbers[difference.place])
        a, b = a.detach().cpu().reshape(b.shape), b.detach().cpu()
        grown = explained_by_noise(a, b, share=tolerance.atol, rounding=tolerance.rounding, noise=noise)
        if grown is None:
            made.append(difference)
            continue
        worst, times = grown
        atol, needed, where = worst.allowed, worst.error, (worst.axis, worst.index)
        made.append(
            replace(difference, passed=True, problem="", atol=atol, needed_atol=needed, slice=where, growth=times)
        )
    return made


def _may_be(difference: Difference, tolerance: Tolerance) -> bool:
    """Is it off by finite numbers, and has nobody given a tolerance?"""
    judged = tolerance.relative_to_largest and not tolerance.rtol and tolerance.rounding > 0
    return not difference.passed and judged and difference.max_abs > 0 and not difference.not_finite


def _of_output(growth: Noise, number: int) -> Iterator[torch.Tensor | None]:
    for step in growth():
        found = [tensor for _, tensor in leaves(step)]
        yield found[number] if number < len(found) else None
