"""Many numbers at once, against Python's reading of each, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from torchmigrate.t7.reading.digits import decimals

RNG = np.random.default_rng(11)
ROWS = {
    "as printf writes float": [f"{x:.9g}" for x in RNG.standard_normal(5000).astype(np.float32)],
    "small and large": [f"{x:.9g}" for x in RNG.standard_normal(5000) * 10.0 ** RNG.integers(-3, 7, 5000)],
    "some with an exponent": [f"{x:.9g}" for x in RNG.standard_normal(5000) ** 3],
    "whole": ["0", "7", "-0", "12345678", "-87654321", "100"] * 9,
    "whole and not": ["0", "0.5", "-0", "-0.0", "1.25", "17", "-0.00123456789", "3"] * 7,
    "at the bounds": ["0.12345678", "0.123456789", "12345678.1234567", "-99999999.9999999", "0.00000000000001"],
    "longer than that": ["0.1"] * 99 + ["0.30000000000000004", "123456789012345678", "1e22", "-2.5e-300"],
    "as nobody writes them": [".5", "5.", "-.25", "007", "0.50"] * 5,
    "one": ["-4.125"],
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("space", ["", " "])
def test_every_bit_is_right(name: str, space: str) -> None:
    found = decimals((space + " ".join(ROWS[name])).encode())
    assert found is not None
    assert found.tobytes() == np.array([float(word) for word in ROWS[name]]).tobytes()


@pytest.mark.parametrize(
    "word",
    [
        "-",
        ".",
        "-.",
        "1.2.3",
        "1-2",
        "--1",
        "1.-2",
        "1_0",
        "0x1f",
        "inf",
        "nan",
        "1e999",
        "12a",
        "1,5",
        "1e",
        "é",
        "\0",
    ],
)
def test_what_is_no_number_is_left_to_the_patient_reader(word: str) -> None:
    for words in (["0.5", word, "2.5"], [word, "0.5"], ["0.5", word]):
        assert decimals(" ".join(words).encode()) is None


def test_so_are_two_spaces() -> None:
    for text in (b"0.5  1.5", b"  0.5", b"0.5 ", b" "):
        assert decimals(text) is None


def test_so_are_numbers_that_a_double_rounds() -> None:
    assert decimals(" ".join(f"{x:.17g}" for x in RNG.standard_normal(1000)).encode()) is None
