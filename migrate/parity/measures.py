"""What is measured of the differences of tensors from one reference, in one pass through memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

Numbers = npt.NDArray[np.float64]

#: Elements that a thread works on at a time: few enough to stay in its core's cache.
_CHUNK = 65536

#: Larger numbers, and smaller ones than its inverse, are divided in float64.
_USUAL = 1e30

#: Up to so many elements percentiles are exact; of more they are those of a sample.
_MOST_SORTED = 16384

#: Elements of such a sample: at the 99th percentile it is off by 0.2 percent of the ranks.
_SAMPLES = 4096

#: Multiples of the golden ratio fall evenly between whole numbers, and never again at the same place.
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass
class Spread:
    """What is kept of many numbers of 0 and more.

    Attributes:
        total: their sum.
        largest: the largest; 0 if there are none.
    """

    total: float = 0.0
    largest: float = 0.0

    def add(self, numbers: torch.Tensor) -> float:
        """Takes in more of them; returns the largest of these."""
        self.total += float(numbers.sum())
        largest = float(numbers.amax())
        self.largest = max(self.largest, largest)
        return largest


@dataclass
class Scale:
    """What is measured of the reference b alone.

    Attributes:
        count: how many elements there are.
        zeros: how many of them are 0.
        largest: the largest |b|.
        squares: sum of b * b.
    """

    count: int
    zeros: int = 0
    largest: float = 0.0
    squares: float = 0.0


@dataclass
class Measures:
    """Sums and extremes over all elements of a and b.

    Attributes:
        rtol: relative tolerance.
        scale: of b.
        absolute: of |a - b|.
        relative: of |a - b| / |b|, which is 0 where b is 0.
        excess: the largest |a - b| - rtol * |b|.
        worst: number of the element that has it.
        noise: sum of (a - b) * (a - b).
        along: sum of (a - b) * b.
    """

    rtol: float
    scale: Scale
    absolute: Spread = field(default_factory=Spread)
    relative: Spread = field(default_factory=Spread)
    excess: float = -math.inf
    worst: int = 0
    noise: float = 0.0
    along: float = 0.0


def measure(got: Sequence[torch.Tensor], expected: torch.Tensor, rtols: Sequence[float]) -> list[Measures]:
    """Measures tensors against one reference, whatever their types; it means nothing unless all are finite.

    All is computed in float64; a - b is then divided by b in float32, where b is of a usual size.
    No tensor of their size is made: a layer of a large network has a hundred million numbers.

    Args:
        got: what is judged, 1-D, on the CPU.
        expected: the reference, likewise.
        rtols: a relative tolerance for each of `got`.
    """
    scale = Scale(len(expected))
    found = [Measures(rtol, scale) for rtol in rtols]
    step = max(1, min(scale.count, _CHUNK * torch.get_num_threads()))
    with torch.inference_mode():
        doubles, floats = torch.empty(3, step, dtype=torch.float64), torch.empty(2, step, dtype=torch.float32)
        for start in range(0, scale.count, step):
            stop = min(start + step, scale.count)
            apart, size, cast = doubles[:, : stop - start]
            divisor, share = floats[:, : stop - start]
            b = expected[start:stop]
            b = b if b.dtype == torch.float64 else cast.copy_(b)
            allowed = torch.abs(b, out=size).clone() if any(rtols) else size
            usual = _add_scale(scale, b, size, divisor)
            for one, a in zip(found, got, strict=True):
                apart.copy_(a[start:stop]).sub_(b)
                one.noise += float(apart.dot(apart))
                one.along += float(apart.dot(b))
                top = one.absolute.add(apart.abs_())
                _add_excess(one, apart, top, allowed, start)
                one.relative.add(share.copy_(apart).div_(divisor) if usual and top < _USUAL else apart.div_(size))
    return found


def _add_scale(scale: Scale, b: torch.Tensor, size: torch.Tensor, divisor: torch.Tensor) -> bool:
    """Takes in a part of b; leaves its sizes in `size` and `divisor`, where 0 is inf, so that the relative error is 0.

    Returns:
        Is `divisor`, whose numbers are of fewer bits, as good?
    """
    largest = float(torch.abs(b, out=size).amax())
    scale.largest = max(scale.largest, largest)
    scale.squares += float(b.dot(b))
    divisor.copy_(functional.threshold(size, 0.0, math.inf, inplace=True))
    usual = largest < _USUAL and float(divisor.amin()) > 1 / _USUAL
    sizes = divisor if usual else size
    if float(sizes.amax()) == math.inf:
        scale.zeros += int(np.count_nonzero(sizes.numpy() == math.inf))
    return usual


def _add_excess(one: Measures, apart: torch.Tensor, top: float, size: torch.Tensor, start: int) -> None:
    """Takes in how far a part of |a - b|, the largest of which is `top`, exceeds rtol * |b|."""
    over = torch.sub(apart, size, alpha=one.rtol) if one.rtol else apart
    if (float(over.amax()) if one.rtol else top) > one.excess:
        place = int(over.numpy().argmax())
        one.excess, one.worst = float(over[place]), start + place


def sample(count: int) -> slice | npt.NDArray[np.int64]:
    """Which of many numbers percentiles are taken of: evenly spread, at no fixed distance, where errors may hide."""
    if count <= _MOST_SORTED:
        return slice(None)
    step = int(count * _GOLDEN)
    while math.gcd(step, count) > 1:
        step += 1
    return np.arange(_SAMPLES, dtype=np.int64) * step % count


def p99(values: Numbers) -> float:
    """The 99th percentile: the smallest number that at least 99 of 100 do not exceed; 0 of none."""
    if not len(values):
        return 0.0
    place = math.ceil(0.99 * len(values)) - 1
    return float(np.partition(values, place)[place])


def errors(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> tuple[Numbers, Numbers]:
    """|a - b| of each element, and |a - b| / |b|, which is 0 where b is 0."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        distance = np.abs(np.subtract(a, b, dtype=np.float64))
        size = np.abs(b, dtype=np.float64)
        return distance, distance / np.where(size, size, np.inf)
