"""What is measured of the difference of two tensors, in one pass through memory."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Numbers = npt.NDArray[np.float64]

#: Elements that are worked on at a time: few enough to stay in a core's cache.
_CHUNK = 8192

#: A thread for less work than this would cost more than it saves.
_LEAST_OF_A_THREAD = 32 * _CHUNK

#: Elements from which it is guessed which are large.
_SAMPLES = 4096

#: The share of the elements that is above the 99th percentile.
_TOP = 0.01


@dataclass(frozen=True)
class Spread:
    """What is kept of many numbers of 0 and more.

    Attributes:
        total: their sum.
        floor: one of them, or less than all; what is not above it was not kept.
        kept: the others.
    """

    total: float = 0.0
    floor: float = -1.0
    kept: tuple[Numbers, ...] = ()

    def __add__(self, other: Spread) -> Spread:
        """Of two parts together, which have the same floor."""
        return Spread(self.total + other.total, self.floor, self.kept + other.kept)

    @property
    def largest(self) -> float:
        """Of all numbers; 0 if there are none."""
        return max((float(numbers.max()) for numbers in self.kept if len(numbers)), default=max(self.floor, 0.0))

    def p99(self, count: int) -> float | None:
        """The 99th percentile: the smallest number that at least 99 of 100 do not exceed.

        Args:
            count: how many numbers there are; zeros that do not count may be among those that were kept.

        Returns:
            The percentile; None if too few were kept.
        """
        if not count:
            return 0.0
        above = count - math.ceil((1 - _TOP) * count)
        if sum(map(len, self.kept)) <= above:
            return self.floor if self.floor == 0 else None
        kept = np.concatenate(self.kept)
        place = len(kept) - 1 - above
        return float(np.partition(kept, place)[place])


@dataclass(frozen=True)
class Measures:
    """Sums and extremes over all elements.

    Attributes:
        count: how many elements there are.
        zeros: in how many of them b is 0.
        largest: the largest |b|.
        excess: the largest |a - b| - rtol * |b|.
        worst: number of the element that has it.
        product: sum of a * b.
        ours, theirs, noise: sums of a * a, b * b, (a - b) * (a - b).
        absolute: of |a - b|.
        relative: of |a - b| / |b| where b is not 0.
    """

    count: int = 0
    zeros: int = 0
    largest: float = 0.0
    excess: float = -math.inf
    worst: int = 0
    product: float = 0.0
    ours: float = 0.0
    theirs: float = 0.0
    noise: float = 0.0
    absolute: Spread = Spread()
    relative: Spread = Spread()

    def __add__(self, other: Measures) -> Measures:
        """Those of two parts together, `other` being the later one."""
        further = other if other.excess > self.excess else self
        return Measures(
            self.count + other.count,
            self.zeros + other.zeros,
            max(self.largest, other.largest),
            further.excess,
            further.worst,
            self.product + other.product,
            self.ours + other.ours,
            self.theirs + other.theirs,
            self.noise + other.noise,
            self.absolute + other.absolute,
            self.relative + other.relative,
        )


def measure(a: npt.NDArray[Any], b: npt.NDArray[Any], rtol: float) -> Measures:
    """Measures `a` against `b`, both 1-D, in float64 whatever their types; it means nothing unless all are finite.

    No array of their size is made: a layer of a large network has a hundred million numbers.

    Args:
        a: what is judged.
        b: the reference.
        rtol: relative tolerance.
    """
    count = len(a)
    threads = max(1, min(torch.get_num_threads(), count // _LEAST_OF_A_THREAD))
    part = partial(_measure_part, a, b, rtol, _floors(a, b))
    if threads == 1:
        return part(0, count)
    edges = [count * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        return reduce(Measures.__add__, pool.map(part, edges[:-1], edges[1:]))


def _floors(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> tuple[float, float]:
    """What most of the hundredth that is largest exceeds, of |a - b| and |a - b| / |b|; -1 where all are kept."""
    if len(a) <= 16 * _SAMPLES:
        return -1.0, -1.0
    step = len(a) // _SAMPLES
    found = errors(a[::step], b[::step])
    place = int((1 - 3 * _TOP) * len(found[0]))
    absolute, relative = (float(np.partition(values, place)[place]) for values in found)
    return absolute, relative


def errors(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> tuple[Numbers, Numbers]:
    """|a - b| of each element, and |a - b| / |b|, which is 0 where b is 0."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        distance = np.abs(np.subtract(a, b, dtype=np.float64))
        size = np.abs(b, dtype=np.float64)
        return distance, distance / np.where(size, size, np.inf)


def _measure_part(
    a: npt.NDArray[Any], b: npt.NDArray[Any], rtol: float, floors: tuple[float, float], first: int, end: int
) -> Measures:
    zeros, largest, excess, worst = 0, 0.0, -math.inf, first
    sums = np.zeros(6)
    kept: tuple[list[Numbers], list[Numbers]] = ([], [])
    whole = [np.empty(_CHUNK) for _ in range(4)]
    ones = np.ones(_CHUNK)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # each thread has its own
        for start in range(first, end, _CHUNK):
            stop = min(start + _CHUNK, end)
            x, y, apart, share = (numbers[: stop - start] for numbers in whole)
            x[:], y[:] = a[start:stop], b[start:stop]
            np.subtract(x, y, out=apart)
            of_squares = np.dot(x, y), np.dot(x, x), np.dot(y, y), np.dot(apart, apart)
            np.abs(apart, out=apart)
            np.abs(y, out=y)
            largest = max(largest, float(y.max()))
            over = apart - rtol * y if rtol else apart
            place = int(over.argmax())
            if over[place] > excess:
                excess, worst = float(over[place]), start + place
            zero = y == 0
            if found := int(np.count_nonzero(zero)):
                zeros += found
                np.add(y, zero, out=y)
            np.divide(apart, y, out=share)
            if found:
                np.multiply(share, np.logical_not(zero, out=zero), out=share)
            sums += *of_squares, np.dot(apart, ones[: len(apart)]), np.dot(share, ones[: len(apart)])
            for numbers, floor, large in zip((apart, share), floors, kept, strict=True):
                large.append(numbers[numbers > floor])
    product, ours, theirs, noise, absolute, relative = sums.tolist()
    return Measures(
        end - first,
        zeros,
        largest,
        excess,
        worst,
        product,
        ours,
        theirs,
        noise,
        Spread(absolute, floors[0], tuple(kept[0])),
        Spread(relative, floors[1], tuple(kept[1])),
    )
