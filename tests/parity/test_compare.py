"""The rule |a - b| <= atol + rtol * |b|, and what is recorded of a difference."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torchmigrate.parity.judge.compare import Tolerance, compare

EXACT = Tolerance(0.0, 0.0, False, "test")


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("got", "expected", "atol", "rtol", "passed"),
    [
        (t(1.0), t(1.0), 0.0, 0.0, True),
        (t(1.5), t(1.0), 0.5, 0.0, True),
        (t(1.5), t(1.0), 0.49, 0.0, False),
        (t(110.0), t(100.0), 0.0, 0.1, True),
        (t(111.0), t(100.0), 0.0, 0.1, False),
        (t(1.0, 9.0), t(1.0, 8.0), 0.5, 0.0625, True),
        # small absolutely and large relatively: the rule adds, it is no choice between the two
        (t(0.2), t(0.1), 0.05, 0.1, False),
    ],
)
def test_the_rule(got: torch.Tensor, expected: torch.Tensor, atol: float, rtol: float, passed: bool) -> None:
    (difference,) = compare(got, expected, Tolerance(atol, rtol, False, "test"))
    assert difference.passed is passed


def test_tolerance_relative_to_the_largest() -> None:
    rule = Tolerance(0.01, 0.0, True, "test")
    assert compare(t(100.0, 0.9), t(100.0, 0.0), rule)[0].passed
    assert not compare(t(1.0, 0.9), t(1.0, 0.0), rule)[0].passed


@pytest.mark.parametrize(
    ("got", "expected", "problem"),
    [
        (t(1.0, float("nan")), t(1.0, 2.0), "it has 1 NaN or Inf"),
        (t(1.0, 2.0), t(1.0, float("inf")), "the reference has 1 NaN or Inf"),
        (t(1.0, float("nan")), t(float("nan"), 1.0), "has 1 NaN or Inf"),
        (t(float("inf")), t(float("-inf")), "NaN or Inf"),
        (t(float("inf")), t(float("nan")), "NaN or Inf"),
        (t(1.0, 2.0), t(1.0), "shape"),
        (torch.tensor([1]), t(1.0), "type"),
        ([t(1.0)], [t(1.0), t(2.0)], "missing"),
        ([t(1.0), t(2.0)], [t(1.0)], "no such output"),
    ],
)
def test_what_always_fails(got: Any, expected: Any, problem: str) -> None:
    found = compare(got, expected, Tolerance(1e9, 1e9, False, "test"))
    assert any(problem in difference.problem for difference in found)
    assert not all(difference.passed for difference in found)


def test_statistics() -> None:
    got, expected = t(1.0, 2.0, 3.0, 4.5), t(1.0, 2.0, 3.0, 4.0)
    (found,) = compare(got.reshape(2, 2), expected.reshape(2, 2), EXACT)
    assert (found.max_abs, found.mean_abs, found.max_rel, found.needed_atol) == (0.5, 0.125, 0.125, 0.5)
    assert (found.worst, found.worst_got, found.worst_expected, found.largest) == ((1, 1), 4.5, 4.0, 4.0)
    assert found.snr_db == pytest.approx(10 * torch.log10(torch.tensor(30 / 0.25)).item())
    assert found.cosine == pytest.approx(torch.nn.functional.cosine_similarity(got, expected, 0).item())


def test_tensors_without_dimensions_are_torch7s_of_one_element() -> None:
    assert compare(torch.tensor(2.0), torch.tensor([2.0]), EXACT)[0].passed


def test_errors_are_counted_by_size() -> None:
    got, expected = t(1.0, 2.0, 3.0, 4.5, 5.03, 6.04), t(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    histogram = compare(got, expected, EXACT, details=True)[0].histogram
    assert histogram is not None
    # 0.03 and 0.04 lie between 10**-1.75 = 0.018 and 10**-1.25 = 0.056, on both sides of 10**-1.5 = 0.0316
    assert (histogram.zeros, histogram.per_decade, histogram.first) == (3, 4, -7)
    assert histogram.counts == (1, 1, 0, 0, 0, 1)
    assert compare(got, expected, EXACT)[0].histogram is None


@pytest.mark.parametrize(
    ("got", "expected", "found"),
    [
        ([[1.0, 2.0], [4.0, 3.0]], [[1.0, 2.1], [3.0, 4.0]], (2, 2, 1, None)),
        # two classes that are equally good may change places
        ([[2.0, 1.9, 0.0]], [[1.0, 1.0, 0.0]], (1, 3, 1, None)),
        ([6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0], [5.0, 6.0, 4.0, 3.0, 2.0, 1.0, 0.0], (1, 7, 0, 1)),
        ([6.0, 5.0, 4.0, 3.0, 1.0, 2.0, 0.0], [6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0], (1, 7, 1, 0)),
    ],
)
def test_classes_agree(got: Any, expected: Any, found: tuple[int, int, int, int | None]) -> None:
    (difference,) = compare(torch.tensor(got), torch.tensor(expected), EXACT, details=True)
    agreement = difference.agreement
    assert agreement is not None
    assert (agreement.samples, agreement.classes, agreement.top1, agreement.top5) == found


@pytest.mark.parametrize("shape", [(1,), (2, 1), (2, 3, 4)])
def test_what_is_no_scores_of_classes(shape: tuple[int, ...]) -> None:
    assert compare(torch.ones(shape), torch.ones(shape), EXACT, details=True)[0].agreement is None


def test_numbers_too_large_to_be_squared() -> None:
    (found,) = compare(t(1e300, -1e308), t(1e300, 1e308), EXACT, details=True)
    assert not found.passed
    assert found.snr_db is None
    assert found.max_abs == float("inf")
