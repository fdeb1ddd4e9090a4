"""How numbers of a report are written."""

from __future__ import annotations

from typing import Any

import pytest

from torchmigrate.parity.report.quantities import cosine, nine_digits, number, percent, scientific, share


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "\N{EN DASH}"), (0.0, "0"), (6.5565e-7, "6.56e-07"), ("nan", "NaN"), ("inf", "Inf"), ("-inf", "-Inf")],
)
def test_scientific(value: Any, text: str) -> None:
    assert scientific(value) == text
    assert (number(value) is None) == (value is None or isinstance(value, str))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\N{EN DASH}"),
        (0.0, "0 %"),
        (1e-9, "< 0.01 %"),
        (0.0387, "3.87 %"),
        # what passes and what fails must not look the same
        (0.99999, "< 100 %"),
        (1.0, "100 %"),
        (1.00001, "> 100 %"),
        (1.5, "150 %"),
        (463.8, "464\N{MULTIPLICATION SIGN}"),
        (1e5, "100,000\N{MULTIPLICATION SIGN}"),
    ],
)
def test_percent(value: float | None, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("needed", "allowed", "expected"),
    [(1.0, 4.0, 0.25), (0.0, 0.0, 0.0), (1.0, 0.0, None), ("nan", 1.0, None), (1e308, 1e-308, None)],
)
def test_share(needed: Any, allowed: float, expected: float | None) -> None:
    assert share(needed, allowed) == expected


def test_digits() -> None:
    assert nine_digits(0.6692704558372498) == "0.669270456"
    assert nine_digits("nan") == "NaN"
    assert cosine(0.9999999999997452) == "1 - 2.5e-13"
    assert cosine(1.0) == "1"
    assert cosine(-0.5) == "-0.5"
