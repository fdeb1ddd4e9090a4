"""Numbers of parity.json as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: Stands where there is no number.
DASH = "\N{EN DASH}"

TIMES = "\N{MULTIPLICATION SIGN}"


def number(value: Any) -> float | None:
    """A number of parity.json, where NaN and infinities are text, as a float; None for null, NaN and infinities."""
    if value is None:
        return None
    found = float(value)
    return found if math.isfinite(found) else None


def scientific(value: Any) -> str:
    """Three digits, such as 6.56e-07; NaN and infinities as NaN, Inf and -Inf; a dash for null."""
    if value is None:
        return DASH
    found = float(value)
    if math.isnan(found):
        return "NaN"
    if math.isinf(found):
        return "Inf" if found > 0 else "-Inf"
    return f"{found:.3g}"


def nine_digits(value: Any) -> str:
    """As many digits as tell two float32 numbers apart."""
    return scientific(value) if number(value) is None else f"{float(value):.9g}"


def cosine(value: float) -> str:
    """A cosine by its distance from 1, since it would round to 1: `1 - 2.5e-13`."""
    found = number(value)
    if found is None or abs(1 - found) > 0.01:
        return scientific(value)
    if found == 1:
        return "1"
    return f"1 {'-' if found < 1 else '+'} {abs(1 - found):.2g}"


def share(needed: Any, allowed: Any) -> float | None:
    """How much of a tolerance an error uses, 1 being all of it; None where that has no answer."""
    error, tolerance = number(needed), number(allowed)
    if error is None or tolerance is None:
        return None
    if tolerance == 0:
        return 0.0 if error == 0 else None
    found = error / tolerance
    return found if math.isfinite(found) else None


def of_scale(difference: Mapping[str, Any]) -> float | None:
    """The largest error of a difference of parity.json as a share of the largest number; None where there is none."""
    error, largest = number(difference["max_abs"]), number(difference["largest"])
    return None if error is None or not largest else error / largest


def percent(value: float | None) -> str:
    """A share as `3.9 %`; from ten times on as `61x`; a dash for None."""
    if value is None:
        return DASH
    if value == 0:
        return "0 %"
    if value >= 10:
        return f"{value:,.0f}{TIMES}" if value < 1e6 else f"{value:.3g}{TIMES}"
    text = f"{100 * value:.3g} %" if value >= 0.0001 else "< 0.01 %"
    if text == "100 %" and value != 1:
        return "< 100 %" if value < 1 else "> 100 %"
    return text


def sizes(shape: Any) -> str:
    """Sizes as `2x3x64x64`; a single number is `1`."""
    return "x".join(map(str, shape)) or "1"
