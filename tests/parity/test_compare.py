"""The rule |a - b| <= atol + rtol * |b|, and what is recorded of a difference."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torchmigrate.parity.compare import Tolerance, compare

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
        (t(float("nan")), t(float("nan")), "NaN"),
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
