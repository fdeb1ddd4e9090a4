"""Statistics of a difference, against the same ones by their plain definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from torchmigrate.parity.compare import Known, Tolerance, compare

RULE = Tolerance(1e-5, 0.0, False, "test")


def pair(kind: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    b = rng.standard_normal(count)
    a = b * (1 + 1e-3 * rng.standard_normal(count))
    if kind == "half zero":
        b[: count // 2], a[: count // 3] = 0.0, 0.0
    elif kind == "all zero":
        b[:], a[:] = 0.0, 0.0
    elif kind == "nearly all equal":
        a[:-2] = b[:-2]
    elif kind == "hidden from a sample":
        a = b.copy()
        a[1 :: max(count // 4096, 2)] += 1.0
    return a, b


def p99(values: np.ndarray) -> float:
    return float(np.sort(values)[math.ceil(0.99 * len(values)) - 1]) if len(values) else 0.0


@pytest.mark.parametrize("kind", ["plain", "half zero", "all zero", "nearly all equal", "hidden from a sample"])
@pytest.mark.parametrize("count", [1, 3, 100, 8193, 65537, 300001])
@pytest.mark.parametrize("rtol", [0.0, 1e-3])
@pytest.mark.parametrize("threads", [1, 2])
def test_statistics_are_exact(
    kind: str, count: int, rtol: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    a, b = pair(kind, count)
    (found,) = compare(torch.from_numpy(a), torch.from_numpy(b), Tolerance(1e-5, rtol, False, "test"))
    distance, some = np.abs(a - b), b != 0
    relative, excess = distance[some] / np.abs(b[some]), distance - rtol * np.abs(b)
    assert (found.max_abs, found.p99_abs) == (distance.max(), p99(distance))
    assert (found.max_rel, found.p99_rel) == (relative.max(initial=0.0), p99(relative))
    assert found.worst == (excess.argmax(),)
    assert found.needed_atol == max(excess.max(), 0.0)
    assert found.mean_abs == pytest.approx(distance.mean(), rel=1e-12)
    assert found.mean_rel == pytest.approx(relative.mean() if len(relative) else 0.0, rel=1e-12)


def test_what_was_compared_is_not_measured_again_until_it_is_written_to() -> None:
    a, b = torch.ones(2, 3), torch.ones(2, 3)
    known = Known()
    (first,) = compare(a, b, RULE, known=known)
    assert first.passed
    assert known.find(a, b, RULE) == first
    assert known.find(a, b.clone(), RULE) is None, "equal, but another tensor"
    assert known.find(a, b, Tolerance(1e-5, 0.1, False, "test")) is None, "by another relative tolerance"
    a[1, 2] = 5.0
    assert known.find(a, b, RULE) is None
    (second,) = compare(a, b, RULE, known=known)
    assert (second.passed, second.worst) == (False, (1, 2))


def test_a_difference_that_is_known_is_judged_by_the_tolerance_at_hand() -> None:
    a, b = torch.full((3,), 1.5), torch.ones(3)
    known = Known()
    (wide,) = compare(a, b, Tolerance(0.6, 0.0, False, "test"), known=known)
    (narrow,) = compare(a, b, Tolerance(0.4, 0.0, False, "test"), known=known)
    assert (wide.passed, narrow.passed) == (True, False)
    assert "3 of 3" in narrow.problem
