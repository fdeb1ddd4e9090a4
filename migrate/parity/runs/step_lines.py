"""What a layer answers along the direction of a step, as a straight line, and how well a length of the step fits it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

#: Numbers that are smaller are 0; so are their squares.
LEAST = 1e-150

#: Directions that differ by less are one.
_ALIKE = 1e-10

#: Rounds in which what rounding leaves is fitted again.
_ROUNDS = 3


@dataclass(frozen=True)
class Line:
    """What a layer answers along the direction of the step.

    Attributes:
        at: the scale at which it was run.
        off: what Torch7 recorded, less what it answered there.
        slope: by how much its answer changes with the scale.
        atol: what it may be off.
        changes: what the step did to the parameters that made it so, as shares of the most.
        without: how many of these it does not depend on.
    """

    at: float
    off: torch.Tensor
    slope: torch.Tensor
    atol: float
    changes: torch.Tensor
    without: int = 0

    @property
    def own(self) -> float:
        """The scale that explains most of what was recorded; that of the run where none does."""
        steep = float((self.slope * self.slope).sum())
        return self.at + float((self.slope * self.off).sum()) / steep if steep > 0 else self.at

    def left(self, scale: float) -> float:
        """How much of what was recorded a step of that length does not explain, in tolerances."""
        return float((self.off - (scale - self.at) * self.slope).abs().max()) / self.atol

    def explained(self, scale: float) -> bool:
        """Does a step of that length explain all that was recorded?"""
        return self.left(scale) <= 1

    def digits(self, scale: float, taken: int = 1) -> float:
        """How many digits of independent numbers show that a step was that long; 0 where it does not fit."""
        return self.shown(scale, taken) if scale > 0 and self.explained(scale) else 0.0

    def shown(self, scale: float, taken: int = 1) -> float:
        """How many digits of independent numbers a step of that length changes.

        No more numbers are independent than there are parameters whose change shows, and the scale was taken from
        `taken` of them.
        """
        sizes = (scale * self.slope).abs() / self.atol
        seen = sizes[sizes > 1].log10()
        if not len(seen):
            return 0.0
        shown = int((self.changes * 10.0 ** float(seen.max()) > 1).sum()) - self.without
        return float(seen.mean()) * max(0, min(len(seen), shown) - taken)

    def parts(self) -> Iterator[Line]:
        """The line, and the same without the means of channels."""
        yield self
        yield from self.centred()

    def centred(self) -> Iterator[Line]:
        """The same without the mean of each channel, which is all that a wrong bias changes."""
        for dim, size in enumerate(self.off.shape):
            if 1 < size < self.off.numel():
                rest = [d for d in range(self.off.dim()) if d != dim]
                off, slope = (tensor - tensor.mean(rest, keepdim=True) for tensor in (self.off, self.slope))
                yield Line(self.at, off, slope, self.atol, self.changes, self.without + size)


def refined(lines: Sequence[Line], scale: float) -> float:
    """The scale that explains most of all layers that a scale explains."""
    # of a layer that answered nothing but zeros nothing can be weighed
    explained = [line for line in lines if line.atol > LEAST and line.explained(scale)]
    if not explained:
        return scale
    steep = sum(float((line.slope / line.atol).square().sum()) for line in explained)
    along = sum(float((line.slope / line.atol * (line.off / line.atol)).sum()) for line in explained)
    return explained[0].at + along / steep if steep > 0 else scale


def fitted(pairs: Sequence[tuple[Line, Line]]) -> tuple[float, float] | None:
    """The scales of two directions that together explain most of what was recorded; None where they explain too little.

    Args:
        pairs: the lines of some layers along both, each run at scale 0.
    """
    scales = nearest(pairs)
    if scales is None:
        return None
    explained = all(
        float((one.off - scales[0] * one.slope - scales[1] * other.slope).abs().max()) <= one.atol
        for one, other in pairs
    )
    return scales if explained else None


def nearest(pairs: Sequence[tuple[Line, Line]]) -> tuple[float, float] | None:
    """The same however little they explain; None where the two are one direction, or nothing is recorded.

    Args:
        pairs: the lines of some layers along both, each run at scale 0.
    """
    slopes = [torch.cat([(pair[i].slope / pair[i].atol).reshape(-1) for pair in pairs]) for i in (0, 1)]
    off = torch.cat([(one.off / one.atol).reshape(-1) for one, _ in pairs])
    sizes = [float(slope.norm()) for slope in slopes]
    if not all(0 < size < math.inf for size in (*sizes, float(off.norm()))):
        return None
    one, other = (slope / size for slope, size in zip(slopes, sizes, strict=True))
    alike = float(one @ other)
    if 1 - alike * alike <= _ALIKE:
        return None
    scales = [0.0, 0.0]
    for _ in range(_ROUNDS):
        left = off - scales[0] * slopes[0] - scales[1] * slopes[1]
        along = float(one @ left), float(other @ left)
        scales[0] += (along[0] - alike * along[1]) / (1 - alike * alike) / sizes[0]
        scales[1] += (along[1] - alike * along[0]) / (1 - alike * alike) / sizes[1]
    return scales[0], scales[1]
