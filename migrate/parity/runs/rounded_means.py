"""Channels whose mean is so large beside their deviation that its rounding shows in what a normalization answers.

A mean is rounded in proportion to itself, and divided by the deviation with it: by the root of `eps` alone in a channel
that is one number throughout the batch, as a dead one is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from ..judge.compare import Difference, Tolerance

#: A mean is rounded as a sum and as a quotient.
_OF_A_MEAN = 2

#: Said of a layer that was judged so.
ROUNDED_MEANS = "the mean is so large beside the deviation that its rounding shows"

#: Said of a layer of which nothing but rounding is left.
ONE_NUMBER = (
    "not judged: each of its channels is one number throughout the batch, which leaves nothing but its bias and the "
    "rounding of means"
)


@dataclass(frozen=True)
class Explained:
    """An output but for what the rounding of means makes of it.

    Attributes:
        output: with the reference's numbers where rounding explains the difference.
        most: the most that it explains of any number.
        remark: what was done, in words.
    """

    output: torch.Tensor
    most: float
    remark: str

    def difference(self, whole: Difference, rest: Difference) -> Difference:
        """The whole difference, judged by what rounding explains, if the rest is within its tolerance."""
        allowed = max(self.most, whole.atol)
        return (
            replace(whole, passed=True, problem="", atol=allowed, needed_atol=whole.max_abs, slice=())
            if rest.passed and whole.max_abs <= allowed
            else whole
        )


@dataclass(frozen=True)
class RoundedMeans:
    """What the rounding of means makes of the output of a normalization.

    Attributes:
        allowed: how far it may move each number: (batch or 1, channels, 1, ...); 0 where it does not show.
        enough: is there a channel that is more than one number, so that the layer can be judged?
    """

    allowed: torch.Tensor
    enough: bool

    def explained(self, output: Any, expected: Any) -> Explained | None:
        """What rounding explains of the difference of an output from the reference; None where that is nothing."""
        if not isinstance(output, torch.Tensor) or not isinstance(expected, torch.Tensor):
            return None
        if output.shape != expected.shape or output.dim() != self.allowed.dim():
            return None
        apart = (output.detach().double() - expected.to(output.device).double()).abs()
        allowed = self.allowed.to(output.device)
        near = (apart > 0) & (apart <= allowed)
        over = [axis for axis, size in enumerate(allowed.shape) if size == 1]
        shown = near.any(dim=tuple(over), keepdim=True) if over else near
        if not bool(shown.any()):
            return None
        most = float(torch.where(shown, allowed, 0.0).max())
        count = f"{int(shown.sum())} of {allowed.numel()} channels"
        remark = f"in {count} {ROUNDED_MEANS}: they were judged up to {most:.2g}"
        return Explained(torch.where(near, expected.to(output), output), most, remark)


def rounded_means(module: nn.Module, given: Any, tolerance: Tolerance, *, training: bool) -> RoundedMeans | None:
    """How far rounding moves the output of a normalization by the statistics of its batch; None where that is little.

    Args:
        module: the layer; its weights tell what each channel is multiplied with.
        given: what it gets: (batch, channels, ...).
        tolerance: of the layer; its `rounding` is that of one number.
        training: does a layer that keeps statistics use those of the batch?
    """
    per_sample = isinstance(module, _InstanceNorm)
    if not isinstance(module, (_BatchNorm, _InstanceNorm)) or not (training or module.running_mean is None):
        return None
    if not isinstance(given, torch.Tensor) or given.dim() < 2 + per_sample or not given.numel():
        return None
    over = [axis for axis in range(given.dim()) if axis != 1 and not (per_sample and axis == 0)]
    numbers = given.detach().double().cpu()
    spread = numbers.var(over, unbiased=False, keepdim=True)
    mean = numbers.mean(over, keepdim=True)
    off = mean.abs() * _OF_A_MEAN * tolerance.rounding
    sizes = (1, given.shape[1], *[1] * (given.dim() - 2))
    weight, bias = torch.ones(sizes, dtype=torch.float64), torch.zeros(sizes, dtype=torch.float64)
    if module.weight is not None:
        weight = module.weight.detach().double().cpu().abs().reshape(sizes)
    if module.bias is not None:
        bias = module.bias.detach().double().cpu().abs().reshape(sizes)
    scale = weight / (spread + module.eps).sqrt()
    shows = scale * off > tolerance.atol * (scale * (numbers - mean).abs().amax(over, keepdim=True) + bias)
    if not tolerance.relative_to_largest or not bool(shows.any()):
        return None
    enough = bool((spread.sqrt() > off).any())
    return RoundedMeans(torch.where(shows, scale * off, 0.0), enough)


def together(found: Iterable[RoundedMeans | None]) -> RoundedMeans | None:
    """The same of several layers that wrote into the same memory; None where there is none."""
    return reduce(_both, filter(None, found), None)


def _both(one: RoundedMeans | None, other: RoundedMeans) -> RoundedMeans:
    if one is None or one.allowed.dim() != other.allowed.dim():
        return other
    return RoundedMeans(one.allowed + other.allowed, one.enough and other.enough)
