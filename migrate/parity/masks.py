"""Recorded outputs in which a script set numbers to 0 after the layer ran, as by a mask that it multiplies in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..base.tensor_trees import apply, leaves


@dataclass(frozen=True)
class Mask:
    """The numbers of a recorded output that are exactly 0 where the layer gave something else.

    Attributes:
        places: True where that is so; one tensor per tensor of the output, in their order.
        seen: do the other numbers show all of the layer, so that what it computes at these places is known too?
        enough: are they enough to judge it by?
    """

    places: Sequence[torch.Tensor]
    seen: bool
    enough: bool

    @property
    def remark(self) -> str:
        """What is said of the layer."""
        count, total = (sum(map(number, self.places)) for number in (_masked, torch.Tensor.numel))
        zeros = f"{count} of {total} recorded numbers are exactly 0"
        if self.enough:
            return f"{zeros} and were left out: something wrote over them after the layer ran"
        return (
            f"not judged: {zeros}, written over after the layer ran; the others are too few to tell whether it is right"
        )

    def without(self, value: Any) -> Any:
        """An output with 0 at these places; unchanged where its sizes are others."""
        if [tensor.shape for _, tensor in leaves(value)] != [places.shape for places in self.places]:
            return value
        places = iter(self.places)

        def clear(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.masked_fill(next(places).to(tensor.device), 0)

        return apply(value, clear)

    def filled(self, recorded: Any, numbers: Any) -> Any:
        """What was recorded, with other numbers at these places."""
        rest = zip(self.places, (tensor for _, tensor in leaves(numbers)), strict=True)

        def fill(tensor: torch.Tensor) -> torch.Tensor:
            places, other = next(rest)
            return torch.where(places, other.to(tensor), tensor)

        return apply(recorded, fill)


def find_mask(output: Any, recorded: Any, *, every_slice: bool) -> Mask | None:
    """The zeros of a recorded output where the layer gives something else; None where there are none.

    Whether the other numbers agree is not looked at.

    Args:
        output: what the converted layer gives.
        recorded: what is in the file.
        every_slice: do the others show all of the layer only if each slice of each axis, such as a channel, has some?
    """
    ours, theirs = dict(leaves(output)), dict(leaves(recorded))
    if list(ours) != list(theirs) or any(
        ours[p].shape != t.shape or not t.is_floating_point() for p, t in theirs.items()
    ):
        return None
    places = [(t == 0) & (ours[p] != 0) & ours[p].isfinite() for p, t in theirs.items()]
    witnesses = sum(int(t.count_nonzero()) for t in theirs.values())
    if not any(bool(masked.any()) for masked in places):
        return None
    seen = bool(witnesses) and (
        not every_slice or all(_seen(~masked, axis) for masked in places for axis in range(masked.dim()))
    )
    return Mask(places, seen, seen and all(2 * _masked(masked) <= masked.numel() for masked in places))


def zeros_in(value: Any) -> tuple[int, int]:
    """How many numbers of a value are exactly 0, of how many that are no whole numbers by their type."""
    found = [tensor for _, tensor in leaves(value) if tensor.is_floating_point()]
    return sum(int((tensor == 0).sum()) for tensor in found), sum(tensor.numel() for tensor in found)


def _masked(masked: torch.Tensor) -> int:
    return int(masked.sum())


def _seen(kept: torch.Tensor, axis: int) -> bool:
    return bool(kept.movedim(axis, 0).reshape(kept.shape[axis], -1).any(1).all())
