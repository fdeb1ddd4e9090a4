"""The input of a model: as users write it, and as it is found."""

from __future__ import annotations

from typing import Any

import lua
import pytest
import torch

import torchmigrate as tm
from torchmigrate.shapes.infer import infer_input
from torchmigrate.shapes.parse import parse_shape
from torchmigrate.shapes.random_input import make_input


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("2x3x8x9", (2, 3, 8, 9)),
        ("7", (7,)),
        ("{2x10,2x20}", [(2, 10), (2, 20)]),
        ("2x10, 2x20", [(2, 10), (2, 20)]),
        ("{2x1,{3x4,5}}", [(2, 1), [(3, 4), (5,)]]),
    ],
)
def test_sizes_as_users_write_them(text: str, sizes: Any) -> None:
    assert parse_shape(text) == sizes


@pytest.mark.parametrize("text", ["999999999999999999999x3", "{2x3,{1,3000000x3000000x3000000}}"])
def test_sizes_that_no_machine_holds(text: str) -> None:
    with pytest.raises(tm.UsageError, match="more numbers than any machine holds"):
        parse_shape(text)


@pytest.mark.parametrize("text", ["", "2x", "axb", "2x-3", "{2x3", "2x3}", "0x3", "2*3", "٢x3"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(tm.UsageError, match="write 2x3x224x224"):
        parse_shape(text)


def test_linear_tells_its_input() -> None:
    guess = infer_input(tm.convert(lua.sequential(lua.linear(7, 5), lua.linear(5, 3))))
    assert tuple(guess.value.shape) == (2, 7)
    assert guess.value.dtype == torch.float64
    assert "nn.Linear at 1" in guess.reason


def test_what_the_file_remembers_comes_first() -> None:
    model = lua.module("nn.Sequential", modules=[lua.linear(7, 5)], gradInput=lua.numbers(3, 7))
    guess = infer_input(tm.convert(model))
    assert tuple(guess.value.shape) == (3, 7)
    assert "gradInput" in guess.reason


def test_nothing_to_go_by() -> None:
    with pytest.raises(tm.UsageError, match=r"--input-shape 2x3x224x224"):
        infer_input(tm.convert(lua.sequential(lua.module("nn.Tanh"))))


def test_random_input_repeats() -> None:
    conversion = tm.convert(lua.sequential(lua.linear(7, 5)))
    assert torch.equal(make_input(conversion, (4, 7), seed=3), make_input(conversion, (4, 7), seed=3))
