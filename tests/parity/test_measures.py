"""Statistics of a difference, against the same ones by their plain definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from torchmigrate.parity.judge.compare import Known, Tolerance, compare

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
    return percentile(values, 0.99)


def percentile(values: np.ndarray, share: float) -> float:
    return float(np.sort(values)[math.ceil(share * len(values)) - 1]) if len(values) else 0.0


@pytest.mark.parametrize("kind", ["plain", "half zero", "all zero", "nearly all equal", "hidden from a sample"])
@pytest.mark.parametrize("count", [1, 3, 100, 8193, 65537, 300001])
@pytest.mark.parametrize("rtol", [0.0, 1e-3])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_decides_is_exact(
    kind: str, count: int, rtol: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    a, b = pair(kind, count)
    rule = Tolerance(1e-5, rtol, False, "test")
    (found,) = compare(torch.from_numpy(a), torch.from_numpy(b), rule)
    (detailed,) = compare(torch.from_numpy(a), torch.from_numpy(b), rule, details=True)
    distance, some = np.abs(a - b), b != 0
    relative, excess = distance[some] / np.abs(b[some]), distance - rtol * np.abs(b)
    assert (found.max_abs, found.largest) == (distance.max(), np.abs(b).max())
    assert found.worst == (excess.argmax(),)
    assert found.needed_atol == max(excess.max(), 0.0)
    assert found.mean_abs == pytest.approx(distance.mean(), rel=1e-12)
    assert found.max_rel == relative.max(initial=0.0)
    assert found.mean_rel == pytest.approx(relative.mean() if len(relative) else 0.0, rel=1e-12)
    assert found.snr_db == detailed.snr_db
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    assert found.cosine == (pytest.approx(a @ b / norms, abs=1e-14) if norms else None)
    assert (detailed.p99_abs, detailed.p99_rel) == (p99(distance), p99(relative))
    for values, close in ((distance, found.p99_abs), (relative, found.p99_rel)):
        # a sample may miss the rank by its deviation, and by what hides from it
        assert percentile(values, 0.985) <= close <= percentile(values, 0.995)


@pytest.mark.parametrize("kind", ["plain", "half zero", "all zero", "nearly all equal"])
@pytest.mark.parametrize("count", [1, 100, 65537, 300001])
@pytest.mark.parametrize("scale", [1e-42, 1e-20, 1.0, 1e20])
def test_float32_is_compared_with_the_reference_rounded_to_it(kind: str, count: int, scale: float) -> None:
    a, b = (torch.from_numpy(numbers * scale) for numbers in pair(kind, count))
    a = a.float()
    (found,) = compare(a, b, RULE, known=Known(exact=False))
    (expected,) = compare(a, b.float(), RULE)
    for name in ("largest", "max_abs", "mean_abs", "p99_abs", "max_rel", "mean_rel", "p99_rel", "needed_atol"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-5, abs=1e-45), name
    assert (found.passed, found.cosine) == (expected.passed, pytest.approx(expected.cosine, abs=1e-6))
    assert found.snr_db == pytest.approx(expected.snr_db, abs=1e-4)
    assert (found.worst_got, found.worst_expected) == (a[found.worst[0]], b[found.worst[0]])


def test_sums_that_float32_has_no_numbers_for() -> None:
    a, b = (torch.from_numpy(numbers * 1e37).float() for numbers in pair("plain", 65537))
    assert compare(a, b, RULE, known=Known(exact=False)) == compare(a, b, RULE)


@pytest.mark.parametrize(("got", "expected"), [(1.0, 1e39), (1.0, 1e-45), (3e38, -3e38), (float("inf"), 1.0)])
def test_what_float32_has_no_numbers_for(got: float, expected: float) -> None:
    a, b = torch.tensor([got, 1.0]), torch.tensor([expected, 1.0], dtype=torch.float64)
    assert compare(a, b, RULE, known=Known(exact=False)) == compare(a, b, RULE)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-42, 1e-32, 1.0, 1e32, 1e200])
def test_relative_errors_of_unusual_numbers(scale: float) -> None:
    b = torch.from_numpy(pair("half zero", 301)[1] * scale)
    a = b * 1.5
    (found,) = compare(a, b, RULE)
    some = (b != 0).numpy()
    expected = np.abs(a.numpy() - b.numpy())[some] / np.abs(b.numpy())[some]
    assert found.max_rel == expected.max(initial=0.0)
    assert found.mean_rel == pytest.approx(expected.mean() if len(expected) else 0.0, rel=1e-12)


def test_an_error_beyond_float32_is_divided_too() -> None:
    (found,) = compare(torch.tensor([1.0, 1e200], dtype=torch.float64), torch.ones(2, dtype=torch.float64), RULE)
    assert found.max_rel == pytest.approx(1e200)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float32])
def test_numbers_of_every_type(dtype: torch.dtype) -> None:
    a, b = torch.tensor([[1, 2, 9], [4, 5, 6]]).to(dtype), torch.tensor([[1, 2, 3], [4, 5, 8]]).to(dtype)
    (found,) = compare(a, b, RULE)
    assert (found.max_abs, found.mean_abs, found.max_rel, found.worst) == (6.0, 8 / 6, 2.0, (0, 2))


@pytest.mark.parametrize("factor", [0.0, -1.0, 1e-9, 1e9])
def test_cosine_of_what_is_far_off(factor: float) -> None:
    a, b = (torch.from_numpy(numbers) for numbers in pair("plain", 1001))
    (found,) = compare(a * factor, b, RULE)
    if not factor:
        assert found.cosine is None
    else:
        expected = torch.nn.functional.cosine_similarity(a * factor, b, 0).item()
        assert found.cosine == pytest.approx(expected, abs=1e-12)


def test_what_was_compared_is_not_measured_again_until_it_is_written_to() -> None:
    a, b = torch.ones(2, 3), torch.ones(2, 3)
    known = Known()
    (first,) = compare(a, b, RULE, known=known)
    assert first.passed
    assert known.find(a, b, 0.0) is not None
    assert known.find(a, b.clone(), 0.0) is None, "equal, but another tensor"
    assert known.find(a, b, 0.1) is None, "by another relative tolerance"
    a[1, 2] = 5.0
    assert known.find(a, b, 0.0) is None
    (second,) = compare(a, b, RULE, known=known)
    assert (second.passed, second.worst) == (False, (1, 2))


def test_a_difference_that_is_known_is_judged_by_the_tolerance_at_hand() -> None:
    a, b = torch.full((3,), 1.5), torch.ones(3)
    known = Known()
    (wide,) = compare(a, b, Tolerance(0.6, 0.0, False, "test"), known=known)
    (narrow,) = compare(a, b, Tolerance(0.4, 0.0, False, "test"), known=known)
    assert (wide.passed, narrow.passed) == (True, False)
    assert "3 of 3" in narrow.problem
