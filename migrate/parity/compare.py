"""The rule that decides whether two tensors agree, and the statistics of their difference."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..nested import leaves, position


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
class Difference:
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
        max_rel, mean_rel, p99_rel: of |a - b| / |b| where b is not 0.
        worst: index of the element that exceeds its tolerance most.
        worst_got, worst_expected: the two numbers there.
        cosine: of the angle between the two tensors.
        snr_db: signal to noise in decibel; None if there is no noise.
        needed_atol: the smallest atol with which, and the same rtol, the tensor would have passed.
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

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def compare(got: Any, expected: Any, tolerance: Tolerance) -> list[Difference]:
    """Compares nested values tensor by tensor; a missing or an additional tensor is a failure of its own."""
    ours, theirs = dict(leaves(got)), dict(leaves(expected))
    found = []
    for place, b in theirs.items():
        a = ours.get(place)
        if a is None:
            found.append(Difference(position(place), False, "it is missing", tuple(b.shape)))
        else:
            found.append(_compare_tensors(position(place), a.detach(), b.detach(), tolerance))
    for place, a in ours.items():
        if place not in theirs:
            found.append(Difference(position(place), False, "the reference has no such output", tuple(a.shape)))
    return found


def _compare_tensors(place: str, got: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance) -> Difference:
    shape = tuple(expected.shape)
    if got.dim() == 0 and expected.numel() == 1:
        got = got.reshape(shape)  # Torch7 has no tensors without dimensions
    if tuple(got.shape) != shape:
        return Difference(place, False, f"its shape is {tuple(got.shape)}, the reference's {shape}", shape)
    if got.is_floating_point() != expected.is_floating_point():
        return Difference(place, False, f"its type is {got.dtype}, the reference's {expected.dtype}", shape)
    if expected.numel() == 0:
        return Difference(place, True, "", shape)
    a, b = got.cpu().double().reshape(-1), expected.cpu().double().reshape(-1)
    for name, tensor in (("it", a), ("the reference", b)):
        bad = (~tensor.isfinite()).nonzero()
        if len(bad):
            index = _index(int(bad[0]), shape)
            value = float(tensor[int(bad[0])])
            return Difference(
                place,
                False,
                f"{name} has {len(bad)} NaN or Inf, the first ({value}) at {list(index)}",
                shape,
                worst=index,
            )
    return _statistics(place, a, b, shape, tolerance)


def _statistics(
    place: str, a: torch.Tensor, b: torch.Tensor, shape: tuple[int, ...], tolerance: Tolerance
) -> Difference:
    distance, size = (a - b).abs(), b.abs()
    largest = float(size.max())
    atol = tolerance.absolute(largest)
    excess = distance - tolerance.rtol * size
    worst = int(excess.argmax())
    needed = max(float(excess[worst]), 0.0)
    relative = (distance / size)[size > 0]
    noise, signal = float((distance**2).sum()), float((b**2).sum())
    norms = float(a.norm() * b.norm())
    passed = needed <= atol
    problem = (
        ""
        if passed
        else f"{int((excess > atol).sum())} of {len(a)} numbers differ by more than {atol:.3g} + {tolerance.rtol:g}*|b|"
    )
    return Difference(
        place=place,
        passed=passed,
        problem=problem,
        shape=shape,
        atol=atol,
        rtol=tolerance.rtol,
        largest=largest,
        max_abs=float(distance.max()),
        mean_abs=float(distance.mean()),
        p99_abs=_percentile(distance),
        max_rel=float(relative.max()) if len(relative) else 0.0,
        mean_rel=float(relative.mean()) if len(relative) else 0.0,
        p99_rel=_percentile(relative),
        worst=_index(worst, shape),
        worst_got=float(a[worst]),
        worst_expected=float(b[worst]),
        cosine=float(torch.dot(a, b)) / norms if norms else None,
        snr_db=10 * math.log10(signal / noise) if noise and signal else None,
        needed_atol=needed,
    )


def _percentile(values: torch.Tensor) -> float:
    """The 99th percentile; torch.quantile has a limit of 16 million elements."""
    if not len(values):
        return 0.0
    return float(values.kthvalue(max(1, math.ceil(0.99 * len(values)))).values)


def _index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    index = []
    for size in reversed(shape):
        flat, i = divmod(flat, size)
        index.append(i)
    return tuple(reversed(index))
