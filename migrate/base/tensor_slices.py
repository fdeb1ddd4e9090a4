"""Slices of a tensor along its axes, such as its channels: is one off by more than its own numbers allow?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
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
    error: float,
    share: float,
    rounding: float,
    noise: Callable[[], Iterable[torch.Tensor | None]],
) -> WorstSlice | None:
    """The slice that uses most of what it may be off, of those that are off by more than a share of their own numbers.

    A slice whose numbers are the rest of larger ones, or 0 by chance, may be off by a factor of what rounding before it
    makes of it.

    Args:
        got: what is judged, on the CPU, of the same sizes.
        expected: the reference; all numbers of both are finite.
        error: no |a - b| is larger.
        share: the share.
        rounding: that factor.
        noise: gives how far rounding moves each number, as `RoundingNoise` does: in steps, no one smaller than the one
            before; it is asked only if a slice exceeds its share, and only for as many steps as it takes to allow that.

    Returns:
        None if no slice is off by more than its share, or if nothing is known of rounding.
    """
    if not expected.numel() or share <= 0:
        return None
    over = list(_over(got, expected, error, share))
    if not over:
        return None
    worst: WorstSlice | None = None
    for behind in noise():
        if behind is None or behind.numel() != expected.numel():
            return None
        worst = max((_worst(each, behind.reshape(expected.shape), share, rounding) for each in over), key=_used)
        if worst.used <= 1:
            break
    return worst


#: After so many steps of noise an error that is so many times larger than what it allows is given up.
_FIRST, _HOPELESS = 4, 100


def explained_by_noise(
    got: torch.Tensor,
    expected: torch.Tensor,
    *,
    share: float,
    rounding: float,
    noise: Callable[[], Iterable[torch.Tensor | None]],
) -> tuple[WorstSlice, float] | None:
    """The slice that uses most of what noise allows, where all keep within it, and by how much rounding grows.

    Args:
        got: what is judged, on the CPU, of the same sizes.
        expected: the reference; all numbers of both are finite.
        share: as `worst_slice` takes it.
        rounding: as `worst_slice` takes it.
        noise: likewise, but without a limit.

    Returns:
        None if noise does not explain how far the two are apart.
    """
    if not expected.numel() or not expected.is_floating_point():
        return None
    error = float((got.double() - expected.double()).abs().max())
    largest = 0.0

    def steps() -> Iterator[torch.Tensor | None]:
        nonlocal largest
        for number, step in enumerate(noise(), 1):
            largest = float(step.max()) if step is not None and step.numel() else largest
            yield step
            if number >= _FIRST and error > _HOPELESS * rounding * largest:
                return

    worst = worst_slice(got, expected, error=2 * error, share=share, rounding=rounding, noise=steps)
    if worst is None or worst.used > 1:
        return None
    scale = float(expected.abs().max())
    return worst, largest / scale if scale else 0.0


def fold(growth: float) -> str:
    """How far rounding grows, in words: `31,000-fold`."""
    return f"{float(f'{growth:.2g}'):,.0f}-fold" if growth < 1e9 else f"{growth:.2g}-fold"


@dataclass(frozen=True)
class _Over:
    """Slices along an axis that are off by more than a share of their own numbers: their largest numbers and errors."""

    axis: int
    indices: torch.Tensor
    largest: torch.Tensor
    errors: torch.Tensor


def _over(got: torch.Tensor, expected: torch.Tensor, error: float, share: float) -> Iterator[_Over]:
    for axis in sliced_axes(expected.dim()):
        found = _below(expected, axis, error / share)
        if not len(found):
            continue
        ours, theirs = (tensor.index_select(axis, found).double() for tensor in (got, expected))
        largest, errors = _largest(theirs, axis), _largest(ours - theirs, axis)
        over = errors > share * largest
        if bool(over.any()):
            yield _Over(axis, found[over], largest[over], errors[over])


def _worst(over: _Over, behind: torch.Tensor, share: float, rounding: float) -> WorstSlice:
    moved = _largest(behind.index_select(over.axis, over.indices).double(), over.axis)
    allowed = torch.maximum(share * over.largest, (rounding * moved).nan_to_num(math.inf))
    i = int((over.errors / allowed).argmax())
    return WorstSlice(over.axis, int(over.indices[i]), float(over.largest[i]), float(over.errors[i]), float(allowed[i]))


def _used(slice_: WorstSlice) -> float:
    return slice_.used


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
