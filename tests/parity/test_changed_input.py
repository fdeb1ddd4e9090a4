"""References of models whose first layers work in place on the input itself, as the real Torch7 wrote them."""

from __future__ import annotations

import golden
import pytest

import torchmigrate as tm

PARITY = golden.FIXTURES / "parity"


@pytest.mark.parametrize("name", ["inplace_first", "inplace_table"])
def test_the_input_is_stored_as_it_was_given(name: str) -> None:
    report = tm.verify(tm.convert(PARITY / f"{name}.t7"), reference=PARITY / f"{name}.reference.t7")
    assert report, report.summary()


def test_an_input_that_was_stored_after_the_run_is_recognised() -> None:
    conversion = tm.convert(PARITY / "inplace_first.t7")
    with pytest.raises(tm.UsageError, match=r"holds its input as the nn\.MulConstant at 2 left it.*--script"):
        tm.verify(conversion, reference=PARITY / "inplace_first.changed.reference.t7")
