"""What is measured of the difference of two tensors, in one pass through memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

#: Elements that are worked on at a time: few enough to stay in a core's cache.
_CHUNK = 8192


@dataclass
class Measures:
    """Sums and extremes over all elements.

    Attributes:
        distance: |a - b| of each element.
        relative: |a - b| / |b| of each element where b is not 0.
        largest: the largest |b|.
        excess: the largest |a - b| - rtol * |b|.
        worst: number of the element that has it.
        product: sum of a * b.
        ours, theirs, noise: sums of a * a, b * b, (a - b) * (a - b).
    """

    distance: Numbers
    relative: Numbers
    largest: float = 0.0
    excess: float = -np.inf
    worst: int = 0
    product: float = 0.0
    ours: float = 0.0
    theirs: float = 0.0
    noise: float = 0.0


def measure(a: npt.NDArray[Any], b: npt.NDArray[Any], rtol: float) -> Measures:
    """Measures finite `a` against finite `b`, both 1-D, in float64 whatever their types.

    Args:
        a: what is judged.
        b: the reference.
        rtol: relative tolerance.
    """
    count = len(a)
    distance, relative = np.empty(count), np.empty(count)
    found = Measures(distance, relative)
    known = 0
    for start in range(0, count, _CHUNK):
        x, y = (numbers[start : start + _CHUNK].astype(np.float64) for numbers in (a, b))
        apart = distance[start : start + _CHUNK]
        np.subtract(x, y, out=apart)
        found.product += float(np.dot(x, y))
        found.ours += float(np.dot(x, x))
        found.theirs += float(np.dot(y, y))
        found.noise += float(np.dot(apart, apart))
        np.abs(apart, out=apart)
        np.abs(y, out=y)
        found.largest = max(found.largest, float(y.max()))
        over = apart - rtol * y if rtol else apart
        place = int(over.argmax())
        if over[place] > found.excess:
            found.excess, found.worst = float(over[place]), start + place
        some = y > 0
        if not some.all():
            apart, y = apart[some], y[some]
        np.divide(apart, y, out=relative[known : known + len(y)])
        known += len(y)
    found.relative = relative[:known]
    return found
