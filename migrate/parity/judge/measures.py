"""What is measured of the difference of a tensor from its reference, in one pass through memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

Numbers = npt.NDArray[np.float64]

#: Bytes of one operand that a thread works on at a time: few enough to stay in its core's cache.
_CHUNK = 1 << 19

#: References that are rounded to float32 where that was asked for.
_ROUNDED = (torch.float32, torch.float64)

#: Larger sums of float32, and smaller ones than its inverse, are made again in float64.
_USUAL = 1e25

#: Up to so many elements percentiles are exact; of more they are those of a sample.
_MOST_SORTED = 8192

#: Elements of such a sample: at the 99th percentile it is off by about 0.2 percent of the ranks.
_SAMPLES = 2048

#: Of so many elements all is computed by numpy, in float64: a network may run its layers ten thousand times.
_FEW = 2048

#: Sums that are larger are made in float64, of a reference that is not rounded.
_LARGEST_SINGLE = float(np.finfo(np.float32).max)

#: Multiples of the golden ratio fall evenly between whole numbers, and never again at the same place.
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass
class Spread:
    """What is kept of many numbers of 0 and more.

    Attributes:
        total: their sum.
        largest: the largest; 0 if there are none.
        p99: the 99th percentile, of many numbers that of a sample.
    """

    total: float = 0.0
    largest: float = 0.0
    p99: float = 0.0

    def add(self, numbers: torch.Tensor) -> float:
        """Takes in more of them; returns the largest of these."""
        self.total += float(numbers.sum())
        largest = float(numbers.amax())
        self.largest = max(self.largest, largest)
        return largest


@dataclass
class Measures:
    """Sums and extremes over all elements of a and the reference b.

    Attributes:
        rtol: relative tolerance.
        count: how many elements there are.
        zeros: how many of b are 0.
        largest: the largest |b|.
        squares: sum of b * b.
        absolute: of |a - b|.
        relative: of |a - b| / |b|, which is 0 where b is 0.
        excess: the largest |a - b| - rtol * |b|.
        worst: number of the element that has it.
        noise: sum of (a - b) * (a - b).
        along: sum of (a - b) * b.
    """

    rtol: float
    count: int
    zeros: int = 0
    largest: float = 0.0
    squares: float = 0.0
    absolute: Spread = field(default_factory=Spread)
    relative: Spread = field(default_factory=Spread)
    excess: float = -math.inf
    worst: int = 0
    noise: float = 0.0
    along: float = 0.0

    @property
    def sums(self) -> tuple[float, ...]:
        """What a type may have no number for."""
        return self.squares, self.noise, self.absolute.total, self.relative.total


def measure(got: torch.Tensor, expected: torch.Tensor, rtol: float, *, exact: bool = True) -> Measures:
    """Measures a tensor against the reference, whatever their types; it means nothing unless all are finite.

    No tensor of their size is made: a layer of a large network has a hundred million numbers.

    Args:
        got: what is judged, 1-D, on the CPU.
        expected: the reference, likewise.
        rtol: the relative tolerance.
        exact: compute in float64; otherwise float32 is compared with the reference rounded to float32, in float32,
            which takes half as long.
    """
    single = not exact and not rtol and got.dtype == torch.float32 and expected.dtype in _ROUNDED
    if 0 < len(expected) <= _FEW:
        return _measure_few(got.numpy(), expected.numpy(), rtol, rounded=single)
    if single and all(map(math.isfinite, (found := _measure(got, expected, rtol, torch.float32)).sums)):
        return found
    return _measure(got, expected, rtol, torch.float64)


def _measure_few(got: npt.NDArray[Any], expected: npt.NDArray[Any], rtol: float, *, rounded: bool) -> Measures:
    """The same of few numbers, for which the calls take longer than the arithmetic."""
    with np.errstate(all="ignore"):
        b = (expected.astype(np.float32) if rounded else expected).astype(np.float64)
        apart = got.astype(np.float64) - b
        size = np.abs(b)
        zero = size == 0
        zeros = int(np.count_nonzero(zero))
        found = Measures(rtol, len(b), zeros, float(size.max()), float(b @ b))
        if not apart.any():
            over = -rtol * size if rtol else apart
        else:
            distance = np.abs(apart)
            relative = distance / (np.where(zero, np.inf, size) if zeros else size)
            found.absolute = Spread(float(distance.sum()), float(distance.max()), p99(distance))
            some = relative[~zero] if zeros else relative
            found.relative = Spread(float(relative.sum()), float(relative.max()), p99(some))
            found.noise, found.along = float(apart @ apart), float(apart @ b)
            over = distance - rtol * size if rtol else distance
        found.worst = int(over.argmax())
        found.excess = float(over[found.worst])
    if rounded and not max(found.largest, found.absolute.total, found.relative.total) < _LARGEST_SINGLE:
        return _measure_few(got, expected, rtol, rounded=False)
    return found


def _measure(got: torch.Tensor, expected: torch.Tensor, rtol: float, dtype: torch.dtype) -> Measures:
    found = Measures(rtol, len(expected))
    step = max(1, min(found.count, _CHUNK // dtype.itemsize * torch.get_num_threads()))
    with torch.inference_mode():
        buffers = torch.empty(3, step, dtype=dtype)
        for start in range(0, found.count, step):
            stop = min(start + step, found.count)
            apart, size, cast = buffers[:, : stop - start]
            b = expected[start:stop]
            b = b if b.dtype == dtype else cast.copy_(b)
            usual = _add_reference(found, b, size)
            top = _add_difference(found, got[start:stop], b, apart, usual)
            _add_excess(found, apart, top, size, start)
            functional.threshold(size, 0.0, math.inf, inplace=True)  # so that the relative error is 0 where b is
            found.relative.add(apart.div_(size))
    _add_percentiles(found, got, expected, dtype)
    return found


def _add_reference(one: Measures, b: torch.Tensor, size: torch.Tensor) -> bool:
    """Takes in a part of b, and leaves its sizes in `size`.

    Returns:
        Has float32 numbers for the squares?
    """
    one.largest = max(one.largest, float(torch.abs(b, out=size).amax()))
    squares = float(b.dot(b))
    usual = 1 / _USUAL < squares < _USUAL
    one.squares += squares if usual or b.dtype == torch.float64 else float(b.double().dot(b.double()))
    if not float(size.amin()):
        one.zeros += int(np.count_nonzero(size.numpy() == 0))
    return usual


def _add_difference(one: Measures, a: torch.Tensor, b: torch.Tensor, apart: torch.Tensor, usual: bool) -> float:
    """Takes in a part of a - b, and leaves |a - b| in `apart`; returns the largest of it."""
    if a.dtype == b.dtype:
        torch.sub(a, b, out=apart)
    else:
        apart.copy_(a).sub_(b)
    noise, along = float(apart.dot(apart)), float(apart.dot(b))
    top = one.absolute.add(apart.abs_())
    if top and b.dtype == torch.float32 and not (usual and 1 / _USUAL < noise < _USUAL):
        wide = a.double() - b
        noise, along = float(wide.dot(wide)), float(wide.dot(b.double()))
    one.noise += noise
    one.along += along
    return top


def _add_excess(one: Measures, apart: torch.Tensor, top: float, size: torch.Tensor, start: int) -> None:
    """Takes in how far a part of |a - b|, the largest of which is `top`, exceeds rtol * |b|."""
    over = torch.sub(apart, size, alpha=one.rtol) if one.rtol else apart
    if (float(over.amax()) if one.rtol else top) > one.excess:
        place = int(over.numpy().argmax())
        one.excess, one.worst = float(over[place]), start + place


def _add_percentiles(one: Measures, got: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    some = _sample(len(expected))
    theirs = expected.numpy()[some]
    if dtype == torch.float32:
        with np.errstate(over="ignore"):
            theirs = theirs.astype(np.float32)
    absolute, relative = errors(got.numpy()[some], theirs)
    one.absolute.p99, one.relative.p99 = p99(absolute), p99(relative[theirs != 0])


def _sample(count: int) -> slice | npt.NDArray[np.int64]:
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


def index_of(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of an element of a tensor of this shape, from its number in row-major order."""
    index = []
    for size in reversed(shape):
        flat, i = divmod(flat, size)
        index.append(i)
    return tuple(reversed(index))
