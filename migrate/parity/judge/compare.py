"""The rule that decides whether two tensors agree, and the statistics of their difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...base.json_values import JsonValues
from ...base.tensor_memo import TensorMemo
from ...base.tensor_trees import leaves, position
from .measures import Measures, Numbers, errors, measure, p99

#: How many bins of a histogram make a factor of ten.
BINS_PER_DECADE = 4

#: Smaller errors are counted in the first bin, larger ones in the last.
_SMALLEST, _LARGEST = 1e-20, 1e10


@dataclass(frozen=True)
class Tolerance:
    """How far numbers may differ: |a - b| <= atol + rtol * |b|, b being the reference.

    Attributes:
        atol: absolute tolerance; when `relative_to_largest`, a factor of the largest |b| of the tensor.
        rtol: relative tolerance.
        relative_to_largest: is `atol` multiplied by the largest |b|?
        reason: where these numbers come from.
    """

    atol: float
    rtol: float
    relative_to_largest: bool
    reason: str

    def absolute(self, largest: float) -> float:
        """The absolute tolerance for a tensor whose largest |b| is `largest`."""
        return self.atol * largest if self.relative_to_largest else self.atol

    def __str__(self) -> str:
        largest = "*max|b|" if self.relative_to_largest else ""
        return f"{self.atol:g}{largest} + {self.rtol:g}*|b|"


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


@dataclass(frozen=True)
class Difference(JsonValues):
    """How far a tensor is from the reference's.

    Attributes:
        place: where in a nested output, such as `[2]`; "" is the output itself.
        passed: does every element obey the rule?
        problem: why not, in words; "" if passed.
        shape: sizes of the reference's tensor.
        atol: the absolute tolerance that was applied.
        rtol: the relative tolerance that was applied.
        largest: the largest |b|.
        max_abs, mean_abs, p99_abs: of |a - b|.
        max_rel, mean_rel, p99_rel: of |a - b| / |b| where b is not 0. Without a histogram the 99th percentiles of
            more than 8,192 elements are those of 2,048 of them, evenly spread.
        worst: index of the element that exceeds its tolerance most.
        worst_got, worst_expected: the two numbers there.
        cosine: of the angle between the two tensors.
        snr_db: signal to noise in decibel; None if there is no noise.
        needed_atol: the smallest atol with which, and the same rtol, the tensor would have passed.
        histogram: of |a - b|; None where it was not asked for or the tensors can't be compared.
        agreement: None where the tensor does not look like class scores, or as above.
    """

    place: str
    passed: bool
    problem: str
    shape: tuple[int, ...]
    atol: float = 0.0
    rtol: float = 0.0
    largest: float = 0.0
    max_abs: float = 0.0
    mean_abs: float = 0.0
    p99_abs: float = 0.0
    max_rel: float = 0.0
    mean_rel: float = 0.0
    p99_rel: float = 0.0
    worst: tuple[int, ...] = ()
    worst_got: float = 0.0
    worst_expected: float = 0.0
    cosine: float | None = None
    snr_db: float | None = None
    needed_atol: float = 0.0
    histogram: Histogram | None = None
    agreement: Agreement | None = None


class Known:
    """Measures of tensors that were compared already: a container hands on what the last layer in it gave.

    Args:
        exact: compute in float64; otherwise as `measure` does without.
    """

    def __init__(self, *, exact: bool = True) -> None:
        self._exact = exact
        self._found: TensorMemo[tuple[torch.Tensor, int, Measures]] = TensorMemo()

    def find(self, got: torch.Tensor, expected: torch.Tensor, rtol: float) -> Measures | None:
        """What was measured of the same two tensors; None where it has to be measured."""
        other, version, known = self._found.get(got) or (None, 0, None)
        return known if known and other is expected and version == expected._version and known.rtol == rtol else None

    def measure(self, got: torch.Tensor, expected: torch.Tensor, rtol: float) -> Measures:
        """Measures two tensors, unless that was done."""
        found = self.find(got, expected, rtol)
        if found is None:
            found = measure(_numbers(got), _numbers(expected), rtol, exact=self._exact)
            self._found.note(got, (expected, expected._version, found))
        return found


def compare(
    got: Any, expected: Any, tolerance: Tolerance, *, details: bool = False, known: Known | None = None
) -> list[Difference]:
    """Compares nested values tensor by tensor; a missing or an additional tensor is a failure of its own.

    Args:
        got: what is judged.
        expected: the reference.
        tolerance: the rule.
        details: also count the errors by size, and see whether class scores agree.
        known: what was compared before.
    """
    ours, theirs = dict(leaves(got)), dict(leaves(expected))
    found = []
    for place, b in theirs.items():
        a = ours.get(place)
        if a is None:
            found.append(Difference(position(place), False, "it is missing", tuple(b.shape)))
        else:
            found.append(_compare_tensors(position(place), a, b, tolerance, details, known or Known()))
    for place, a in ours.items():
        if place not in theirs:
            found.append(Difference(position(place), False, "the reference has no such output", tuple(a.shape)))
    return found


def _compare_tensors(
    place: str, got: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance, details: bool, known: Known
) -> Difference:
    shape = tuple(expected.shape)
    if problem := _unlike(got, expected):
        return Difference(place, False, problem, shape)
    if expected.numel() == 0:
        return Difference(place, True, "", shape)
    found = known.measure(got, expected, tolerance.rtol)
    a, b = (_numbers(tensor).numpy() for tensor in (got, expected))
    for name, numbers, squares in (("it", a, found.noise), ("the reference", b, found.squares)):
        if math.isfinite(squares):  # much faster than isfinite, and right whenever it says yes
            continue
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            index = _index(int(bad[0]), shape)
            problem = f"{name} has {len(bad)} NaN or Inf, the first ({float(numbers[bad[0]])}) at {list(index)}"
            return Difference(place, False, problem, shape, worst=index)
    return _statistics(place, a, b, shape, found, tolerance, details)


def _unlike(got: torch.Tensor, expected: torch.Tensor) -> str:
    """Why the numbers of two tensors can't be compared; "" if they can."""
    single = got.dim() == 0 and expected.numel() == 1  # Torch7 has no tensors without dimensions
    if got.shape != expected.shape and not single:
        return f"its shape is {tuple(got.shape)}, the reference's {tuple(expected.shape)}"
    if got.is_floating_point() != expected.is_floating_point():
        return f"its type is {got.dtype}, the reference's {expected.dtype}"
    return ""


def _numbers(tensor: torch.Tensor) -> torch.Tensor:
    """All elements, in the tensor's own type where numpy has it."""
    flat = tensor.detach().cpu().reshape(-1)
    return flat.float() if flat.dtype == torch.bfloat16 else flat


def _statistics(
    place: str,
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    shape: tuple[int, ...],
    found: Measures,
    tolerance: Tolerance,
    details: bool,
) -> Difference:
    atol = tolerance.absolute(found.largest)
    needed = max(found.excess, 0.0)
    passed = needed <= atol
    problem = ""
    if not passed:
        count = int((errors(a, b)[0] - tolerance.rtol * np.abs(b, dtype=np.float64) > atol).sum())
        problem = f"{max(count, 1)} of {len(a)} numbers differ by more than {atol:.3g} + {tolerance.rtol:g}*|b|"
    p99_abs, p99_rel, histogram = found.absolute.p99, found.relative.p99, None
    if details:
        distance, relative = errors(a, b)
        p99_abs, p99_rel, histogram = p99(distance), p99(relative[b != 0]), _histogram(distance)
    nonzero = found.count - found.zeros
    ratio = found.squares / found.noise if found.noise else 0.0
    return Difference(
        place=place,
        passed=passed,
        problem=problem,
        shape=shape,
        atol=atol,
        rtol=tolerance.rtol,
        largest=found.largest,
        max_abs=found.absolute.largest,
        mean_abs=found.absolute.total / found.count,
        p99_abs=p99_abs,
        max_rel=found.relative.largest,
        mean_rel=found.relative.total / nonzero if nonzero else 0.0,
        p99_rel=p99_rel,
        worst=_index(found.worst, shape),
        worst_got=float(a[found.worst]),
        worst_expected=float(b[found.worst]),
        cosine=_cosine(a, b, found),
        snr_db=10 * math.log10(ratio) if 0 < ratio < math.inf else None,
        needed_atol=needed,
        histogram=histogram,
        agreement=_agreement(a, b, shape) if details else None,
    )


def _cosine(a: npt.NDArray[Any], b: npt.NDArray[Any], found: Measures) -> float | None:
    """Of the angle between a and b, from what is known of a - b; None if one of them is 0 or too large."""
    theirs = found.squares
    product, ours = theirs + found.along, theirs + 2 * found.along + found.noise
    if ours < 1e-6 * theirs:  # almost nothing is left of the sum
        numbers = a.astype(np.float64)
        product, ours = float(numbers @ b.astype(np.float64)), float(numbers @ numbers)
    norms = math.sqrt(ours) * math.sqrt(theirs)
    return product / norms if 0 < norms < math.inf else None


def _histogram(distance: Numbers) -> Histogram:
    errors = distance[distance > 0]
    zeros = len(distance) - len(errors)
    if not len(errors):
        return Histogram(zeros, BINS_PER_DECADE, 0, ())
    bins = np.floor(np.log10(errors.clip(_SMALLEST, _LARGEST)) * BINS_PER_DECADE).astype(int)
    first = int(bins.min())
    return Histogram(zeros, BINS_PER_DECADE, first, tuple(np.bincount(bins - first).tolist()))


def _agreement(a: npt.NDArray[Any], b: npt.NDArray[Any], shape: tuple[int, ...]) -> Agreement | None:
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


def _index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    index = []
    for size in reversed(shape):
        flat, i = divmod(flat, size)
        index.append(i)
    return tuple(reversed(index))
