"""Turns the text of many numbers into numbers at once, eight digits by eight digits in words of 64 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..values import Array

    Words = npt.NDArray[np.uint64]
    Flags = npt.NDArray[np.bool_]
    Places = npt.NDArray[np.intp]

#: A number of so many digits is exact in a double, and so are the powers of ten up to it: one division rounds once.
_EXACT = 15
#: How many of a chunk may be spelled in another way, and are read one by one.
_FEW = 1 / 16
_FRONT = b" " * 16
_SPACE, _POINT, _MINUS, _ZERO = np.frombuffer(b" .-0", np.uint8)
_TENS = 10 ** np.arange(_EXACT + 1, dtype=np.uint64)
#: What to divide by, after so many places: for positive numbers, then for negative ones (there is a -0).
_POWERS = np.concatenate((_TENS, _TENS)) * np.repeat((1.0, -1.0), _EXACT + 1)
#: Keeps the last 0, 1, … 8 bytes of a word, of which the first byte is the lowest.
_LAST = np.array([0, *((1 << 64) - (1 << 8 * (8 - count)) for count in range(1, 9))], np.uint64)


def decimals(text: bytes) -> Array | None:
    """The numbers of a text that has one space before or between them; None if that takes a more patient reader."""
    # every number has a space on both sides, and so many bytes before it that a word ends wherever it ends
    padded = b"".join((_FRONT, b"" if text[0] == _SPACE else b" ", text, b" "))
    data = np.frombuffer(padded, np.uint8)
    marks = np.flatnonzero((data == _SPACE) | (data == _POINT))[len(_FRONT) :]
    is_point = data[marks] == _POINT
    spaces = np.flatnonzero(~is_point)
    borders = marks[spaces]
    starts, ends = borders[:-1] + 1, borders[1:]
    points = marks[spaces[1:] - 1]
    without = points < starts
    points[without] = ends[without]
    if len(marks) - len(spaces) != len(ends) - np.count_nonzero(without):
        return None
    negative = data[starts] == _MINUS
    first = points - starts - negative
    rest = ends - points - ~without
    odd = (first > 8) | (first + rest > _EXACT) | (first + rest < 1)
    if odd.any():
        first[odd] = rest[odd] = 0
    whole, bad = _natural(padded, points, first)
    low, bad_low = _natural(padded, ends, np.minimum(rest, 8))
    high, bad_high = _natural(padded, ends - 8, np.maximum(rest - 8, 0))
    odd |= bad | bad_low | bad_high
    numbers: Array = (whole * _TENS[rest] + high * _TENS[8] + low) / _POWERS[rest + negative * (_EXACT + 1)]
    return _with_odd(padded, numbers, np.flatnonzero(odd), starts, ends)


def _natural(text: bytes, ends: Places, digits: Places) -> tuple[Words, Flags]:
    """The numbers of up to eight digits that end at some places of a text, and whether one of them has no digit."""
    if digits.max() <= 1:
        digit = np.frombuffer(text, np.uint8)[ends - 1] - _ZERO
        digit[digits == 0] = 0
        return digit.astype(np.uint64), digit > 9
    kept = _LAST[digits]
    words = np.ndarray((len(text) - 7,), "<u8", text, 0, (1,))[ends - 8] & kept
    words -= np.uint64(0x3030303030303030) & kept
    no_digits = ((words + np.uint64(0x7676767676767676)) | words) & np.uint64(0x8080808080808080)
    # pairs of digits, then fours, then all eight
    words = (words * np.uint64(10 * 2**8 + 1) >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    words = (words * np.uint64(100 * 2**16 + 1) >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return words * np.uint64(10_000 * 2**32 + 1) >> np.uint64(32), no_digits != 0


def _with_odd(text: bytes, numbers: Array, odd: Places, starts: Places, ends: Places) -> Array | None:
    """The numbers with those that are spelled in another way, such as 1e-05."""
    if len(odd) > max(8, len(numbers) * _FEW):
        return None
    for i in odd.tolist():
        spelled: Any = text[starts[i] : ends[i]]
        if spelled.translate(None, b"0123456789+-.e"):
            return None
        try:
            numbers[i] = float(spelled)
        except ValueError:
            return None
    return None if np.isinf(numbers[odd]).any() else numbers
