"""Slices of a tensor along its axes, such as its channels: is one off by more than its own numbers allow?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

#: How many places of each other axis are looked at before a whole slice is.
_PLACES = 4


@dataclass(frozen=True)
class WorstSlice:
    """The slice that uses most of what it may be off.

    Attributes:
        axis: the axis along which it lies.
        index: its number there.
        largest: its largest |b|, b being the reference.
        error: its largest |a - b|.
        allowed: how large that may be.
    """

    axis: int
    index: int
    largest: float
    error: float
    allowed: float

    @property
    def used(self) -> float:
        """The error as a share of what is allowed; above 1 it is too large."""
        return self.error / self.allowed if self.allowed else math.inf

    def name(self, dims: int) -> str:
        """As Python writes it: `[:, 3, :]`."""
        return f"[{', '.join(str(self.index) if axis == self.axis else ':' for axis in range(dims))}]"


def worst_slice(
    got: torch.Tensor,
    expected: torch.Tensor,
    *,
    share: float,
    rounding: float,
    noise: Callable[[], torch.Tensor | None],
) -> WorstSlice | None:
    """The slice that uses most of what it may be off, of those that are off by more than a share of their own numbers.

    A slice whose numbers are the rest of larger ones, or 0 by chance, may be off by a factor of what rounding before it
    makes of it.

    Args:
        got: what is judged, on the CPU, of the same sizes.
        expected: the reference; all numbers of both are finite.
        share: the share.
        rounding: that factor.
        noise: gives how far rounding moves each number, as `rounding_noise` does; it is asked only if a slice exceeds
            its share.

    Returns:
        None if no slice is off by more than its share, or if nothing is known of rounding.
    """
    if not expected.numel() or share <= 0:
        return None
    behind: torch.Tensor | None = None
    asked = False
    worst: WorstSlice | None = None
    top = float((got - expected).abs().max())
    for axis in sliced_axes(expected.dim()):
        found = _below(expected, axis, top / share)
        if not len(found):
            continue
        ours, theirs = (tensor.index_select(axis, found).double() for tensor in (got, expected))
        largest, errors = _largest(theirs, axis), _largest(ours - theirs, axis)
        over = errors > share * largest
        if not bool(over.any()):
            continue
        found, largest, errors = found[over], largest[over], errors[over]
        if not asked:
            behind, asked = noise(), True
        if behind is None or behind.numel() != expected.numel():
            return None
        moved = _largest(behind.reshape(expected.shape).index_select(axis, found).double(), axis)
        floor = (rounding * moved).nan_to_num(math.inf)
        allowed = torch.maximum(share * largest, floor)
        i = int((errors / allowed).argmax())
        slice_ = WorstSlice(axis, int(found[i]), float(largest[i]), float(errors[i]), float(allowed[i]))
        if worst is None or slice_.used > worst.used:
            worst = slice_
    return worst


def sliced_axes(dims: int) -> list[int]:
    """The axes along which a tensor is judged: samples, channels, the last one; of few dimensions all."""
    return list(range(dims)) if dims < 4 else [0, 1, dims - 1]


def _below(tensor: torch.Tensor, axis: int, limit: float) -> torch.Tensor:
    """The slices all of whose numbers are smaller than a limit."""
    some = tensor
    for other, size in enumerate(tensor.shape):
        if other != axis and size > _PLACES:
            some = some[(slice(None),) * other + (slice(size // (2 * _PLACES), None, -(-size // _PLACES)),)]
    found = torch.nonzero(_largest(some, axis) < limit).reshape(-1)
    if some.numel() < tensor.numel() and len(found):
        found = found[_largest(tensor.index_select(axis, found), axis) < limit]
    return found


def _largest(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    """The largest size of a number in each slice."""
    sizes = tensor.detach().abs()
    others = [other for other in range(tensor.dim()) if other != axis]
    return sizes.amax(others) if others else sizes
