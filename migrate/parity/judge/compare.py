"""The rule that decides whether two tensors agree, and the statistics of their difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...base.json_values import JsonValues
from ...base.tensor_memo import TensorMemo
from ...base.tensor_slices import worst_slice
from ...base.tensor_trees import leaves, position
from .details import Agreement, Histogram, agreement_of, histogram_of
from .measures import Measures, Numbers, errors, index_of, measure, p99

#: Place in a nested value.
Place = tuple[int, ...]


@dataclass(frozen=True)
class Tolerance:
    """How far numbers may differ: |a - b| <= atol + rtol * |b|, b being the reference.

    Attributes:
        atol: absolute tolerance; when `relative_to_largest`, a factor of the largest |b| of a slice, such as a channel.
        rtol: relative tolerance.
        relative_to_largest: is `atol` multiplied by the largest |b|?
        reason: where these numbers come from.
        rounding: a slice whose numbers are the rest of larger ones may be off by so many times their rounding noise.
    """

    atol: float
    rtol: float
    relative_to_largest: bool
    reason: str
    rounding: float = 0.0

    def absolute(self, largest: float) -> float:
        """The absolute tolerance for a tensor whose largest |b| is `largest`."""
        return self.atol * largest if self.relative_to_largest else self.atol

    def __str__(self) -> str:
        largest = "*max|b|" if self.relative_to_largest else ""
        return f"{self.atol:g}{largest} + {self.rtol:g}*|b|"


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
        slice: (axis, index) of the slice, such as a channel, to whose tolerance `atol` and `needed_atol` belong; ()
            where they are those of the whole tensor.
        not_finite: how many numbers are NaN or Inf, in both alike.
        growth: so many times larger than one rounding of its largest number rounding makes it, where it is off by more
            than the tolerance and that explains it; 0 elsewhere.
        histogram: of |a - b|; None where it was not asked for or the tensors can't be compared.
        agreement: None where the tensor does not look like class scores, or as above.
        constant: are all numbers of the reference the same, of which there are several? Known where details were asked.
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
    constant: bool = False
    slice: tuple[int, ...] = ()
    not_finite: int = 0
    growth: float = 0.0

    @property
    def share(self) -> float:
        """The largest error as a share of the largest number; 0 where that is 0."""
        return self.max_abs / self.largest if self.largest else 0.0

    @property
    def error(self) -> str:
        """The largest error in words, beside the scale of the numbers: `0.84 (8.4e-07 of the largest)`."""
        share = f" ({self.share:.2g} of the largest number)" if self.largest and self.max_abs else ""
        return f"{self.max_abs:.2g}{share}"

    @property
    def proves(self) -> bool:
        """Would a wrong network have shown: are there finite numbers, not all the same, within the tolerance?"""
        return not self.empty and not self.constant and not self.growth and self.not_finite < math.prod(self.shape)

    @property
    def empty(self) -> bool:
        """Were there no numbers to compare?"""
        return math.prod(self.shape) == 0


#: Gives what `RoundingNoise` says of the numbers that are compared, step by step.
Noise = Callable[[], Iterable[Any]]

#: No rounding is looked for behind an error of more than so many times the tolerance.
_HOPELESS = 100

#: So much of the largest number an error may exceed what was measured in float32, of a reference in float64.
_SINGLE = 2.0**-23

#: How whole numbers are compared, unless a user says otherwise.
_WHOLE = Tolerance(0.0, 0.0, False, "whole numbers are equal or not")


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
    got: Any,
    expected: Any,
    tolerance: Tolerance,
    *,
    details: bool = False,
    known: Known | None = None,
    noise: Noise | None = None,
) -> list[Difference]:
    """Compares nested values tensor by tensor; a missing or an additional tensor is a failure of its own.

    Args:
        got: what is judged.
        expected: the reference.
        tolerance: the rule.
        details: also count the errors by size, and see whether class scores agree.
        known: what was compared before.
        noise: gives the rounding noise of the reference, nested alike, or None, step by step; asked where a slice is
            off by more than the tolerance of its own numbers. Without it tensors are judged as a whole.
    """
    ours, theirs = dict(leaves(got)), dict(leaves(expected))
    found = []
    for place, b in theirs.items():
        a = ours.get(place)
        if a is None:
            found.append(Difference(position(place), False, "it is missing", tuple(b.shape)))
        else:
            found.append(_compare_tensors(place, a, b, tolerance, details, known or Known(), noise))
    for place, a in ours.items():
        if place not in theirs:
            found.append(Difference(position(place), False, "the reference has no such output", tuple(a.shape)))
    return found


def _compare_tensors(
    where: tuple[int, ...],
    got: torch.Tensor,
    expected: torch.Tensor,
    tolerance: Tolerance,
    details: bool,
    known: Known,
    noise: Noise | None,
) -> Difference:
    place, shape = position(where), tuple(expected.shape)
    if problem := _unlike(got, expected):
        return Difference(place, False, problem, shape)
    if expected.numel() == 0:
        return Difference(place, True, "", shape)
    if not expected.is_floating_point() and tolerance.relative_to_largest:
        tolerance = _WHOLE
    found = known.measure(got, expected, tolerance.rtol)
    a, b = (_numbers(tensor).numpy() for tensor in (got, expected))
    lost = 0
    if not (math.isfinite(found.noise) and math.isfinite(found.squares)):  # much faster than isfinite
        lost, problem, index = _not_finite(a, b, shape)
        if problem:
            return Difference(place, False, problem, shape, worst=index)
        if lost:
            got, expected = (torch.where(tensor.isfinite(), tensor, 0.0) for tensor in (got, expected))
            a, b = (_numbers(tensor).numpy() for tensor in (got, expected))
            found = measure(_numbers(got), _numbers(expected), tolerance.rtol)
    made = _statistics(place, a, b, shape, found, tolerance, details)
    made = replace(made, not_finite=lost) if lost else made
    if tolerance is _WHOLE and made.passed and not torch.equal(got.long().reshape(shape), expected.long()):
        return replace(made, passed=False, problem="its whole numbers are not equal")  # beyond 2**53
    if noise is None or not tolerance.relative_to_largest or tolerance.rtol or not made.max_abs:
        return made
    return _by_slices(made, got.detach().cpu().reshape(shape), expected.detach().cpu(), tolerance, where, noise)


def _not_finite(a: Numbers, b: Numbers, shape: tuple[int, ...]) -> tuple[int, str, tuple[int, ...]]:
    """How many numbers are NaN or Inf in both alike; else what is wrong, and where first."""
    bad = ~np.isfinite(b)
    unlike = np.flatnonzero((np.isfinite(a) == bad) | (bad & (a != b) & ~(np.isnan(a) & np.isnan(b))))
    if not len(unlike):
        return int(bad.sum()), "", ()
    first = int(unlike[0])
    index = index_of(first, shape)
    name, numbers = ("the reference", b) if np.isfinite(a[first]) else ("it", a)
    count = int((~np.isfinite(numbers)).sum())
    problem = (
        f"{name} has {count} NaN or Inf, the first that the other has not ({float(numbers[first])}) at {list(index)}"
    )
    return 0, problem, index


def _by_slices(
    whole: Difference, got: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance, where: Place, noise: Noise
) -> Difference:
    """The same difference, judged by the slice, such as a channel, that is off most for what its own numbers allow."""
    if whole.largest and whole.needed_atol > _HOPELESS * whole.atol:
        return whole
    worst = worst_slice(
        got,
        expected,
        error=whole.max_abs + (_SINGLE * whole.largest if got.dtype != expected.dtype else 0.0),
        share=tolerance.atol,
        rounding=tolerance.rounding,
        noise=partial(_noise_at, noise, where),
    )
    if worst is None or whole.passed == (worst.used <= 1):
        return whole
    ours, theirs = (tensor.select(worst.axis, worst.index).double() for tensor in (got, expected))
    apart = (ours - theirs).abs()
    inner = index_of(int(apart.argmax()), tuple(apart.shape))
    count = f"{int((apart > worst.allowed).sum())} of {apart.numel()} numbers"
    problem = (
        f"{count} of the slice {worst.name(expected.dim())}, the largest of which is {worst.largest:.3g}, "
        f"differ by more than {worst.allowed:.3g}, by up to {worst.error:.3g}"
    )
    return replace(
        whole,
        passed=worst.used <= 1,
        problem=problem if worst.used > 1 else "",
        atol=worst.allowed,
        needed_atol=worst.error,
        worst=(*inner[: worst.axis], worst.index, *inner[worst.axis :]),
        worst_got=float(ours[inner]),
        worst_expected=float(theirs[inner]),
        slice=(worst.axis, worst.index),
    )


def _noise_at(noise: Noise, where: Place) -> Iterator[torch.Tensor | None]:
    return (dict(leaves(step)).get(where) for step in noise())


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
        share = f", {found.absolute.largest / found.largest:.2g} of the largest number" if found.largest else ""
        problem = (
            f"{max(count, 1)} of {len(a)} numbers differ by more than {atol:.3g} + {tolerance.rtol:g}*|b|, "
            f"by up to {found.absolute.largest:.3g}{share}"
        )
    p99_abs, p99_rel, histogram = found.absolute.p99, found.relative.p99, None
    if details:
        distance, relative = errors(a, b)
        p99_abs, p99_rel, histogram = p99(distance), p99(relative[b != 0]), histogram_of(distance)
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
        worst=index_of(found.worst, shape),
        worst_got=float(a[found.worst]),
        worst_expected=float(b[found.worst]),
        cosine=_cosine(a, b, found),
        snr_db=10 * math.log10(ratio) if 0 < ratio < math.inf else None,
        needed_atol=needed,
        histogram=histogram,
        agreement=agreement_of(a, b, shape) if details else None,
        constant=details and len(b) > 1 and bool((b == b[0]).all()),
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
