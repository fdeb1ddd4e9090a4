"""What is told of an output beside its errors: how many have which size, and whether class scores agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .measures import Numbers

#: How many bins of a histogram make a factor of ten.
BINS_PER_DECADE = 4

#: Smaller errors are counted in the first bin, larger ones in the last.
_SMALLEST, _LARGEST = 1e-20, 1e10


@dataclass(frozen=True)
class Histogram:
    """How many elements have an error |a - b| of which size.

    Bin i counts the errors from 10**((first + i) / per_decade) up to the next bin's.

    Attributes:
        zeros: how many elements are equal.
        per_decade: bins per factor of ten.
        first: number of the first bin; 0 begins at 1.
        counts: one number per bin, the first and the last of them not 0.
    """

    zeros: int
    per_decade: int
    first: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Agreement:
    """How often two sets of class scores name the same classes; equal scores of the reference are interchangeable.

    Attributes:
        samples: how many samples there are.
        classes: how many classes each has.
        top1: samples whose largest score belongs to the same class.
        top5: samples whose five largest scores belong to the same classes; None if there are no more than five classes.
    """

    samples: int
    classes: int
    top1: int
    top5: int | None


def histogram_of(distance: Numbers) -> Histogram:
    """How many errors have which size."""
    errors = distance[distance > 0]
    zeros = len(distance) - len(errors)
    if not len(errors):
        return Histogram(zeros, BINS_PER_DECADE, 0, ())
    bins = np.floor(np.log10(errors.clip(_SMALLEST, _LARGEST)) * BINS_PER_DECADE).astype(int)
    first = int(bins.min())
    return Histogram(zeros, BINS_PER_DECADE, first, tuple(np.bincount(bins - first).tolist()))


def agreement_of(a: npt.NDArray[Any], b: npt.NDArray[Any], shape: tuple[int, ...]) -> Agreement | None:
    """Of one score per class, for one sample or for a batch."""
    if len(shape) not in (1, 2) or shape[-1] < 2:
        return None
    classes = shape[-1]
    ours, theirs = a.reshape(-1, classes), b.reshape(-1, classes)

    def agreeing(count: int) -> int:
        chosen = np.argpartition(ours, classes - count, axis=1)[:, classes - count :]
        least = np.partition(theirs, classes - count, axis=1)[:, classes - count]
        return int((np.take_along_axis(theirs, chosen, axis=1) >= least[:, None]).all(axis=1).sum())

    return Agreement(len(ours), classes, agreeing(1), agreeing(5) if classes > 5 else None)
