"""Masks of padding that are set before a batch, as torch/rnn's setZeroMask does."""

from __future__ import annotations

import time
from typing import Any

import golden
import pytest
import torch

import torchmigrate as tm
from torchmigrate.converters.recurrent.zero_masks import VariableLength, set_zero_mask

#: cases of VariableLength, whose module takes batches with a mask
CASES = [("nn.VariableLength.t7", 0), ("nn.VariableLength.t7", 3), ("nn.VariableLength-2.t7", 0)]


def masked(file: str, index: int) -> Any:
    case = golden.read_cases(file)[index]
    return tm.convert(case["module"]["modules"][1], mode="saved").module


@pytest.mark.parametrize(("file", "index"), CASES)
def test_a_padded_batch_gives_what_each_sequence_gives_alone(file: str, index: int) -> None:
    module = masked(file, index)
    torch.manual_seed(0)
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    mask = torch.tensor([[0, 0], [0, 0], [0, 1], [0, 1], [0, 1]], dtype=torch.uint8)
    set_zero_mask(module, mask)
    output = module(x)
    set_zero_mask(module, False)
    golden.assert_same(output[:, :1], module(x[:, :1]), "the long sequence")
    golden.assert_same(output[:2, 1:], module(x[:2, 1:]), "the short sequence")
    assert not output[2:, 1].any()


@pytest.mark.parametrize(("file", "index"), CASES)
def test_a_mask_must_be_set_and_fit(file: str, index: int) -> None:
    module = masked(file, index)
    x = torch.zeros(5, 2, 4, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="set a mask of padding first"):
        module(x)
    set_zero_mask(module, torch.zeros(4, 2))
    with pytest.raises(RuntimeError, match="mask of padding"):
        module(x)


def test_the_report_says_that_a_mask_is_needed() -> None:
    case = golden.read_cases("nn.VariableLength.t7")[0]
    notes = tm.convert(case["module"]["modules"][1]).notes
    assert any("set_zero_mask" in str(note) for note in notes)


@pytest.mark.parametrize(
    ("lengths", "columns"),
    [
        ([], []),
        ([3, 9, 2, 4, 1], [[(1, 0)], [(3, 0), (0, 5)], [(2, 0), (4, 3)]]),
        ([5, 5, 2, 2], [[(1, 0)], [(0, 0)], [(3, 0), (2, 3)]]),
        ([0, 2, 0], [[(1, 0)], [(2, 0), (0, 1)]]),
    ],
)
def test_columns_take_the_longest_first_and_then_each_that_fits(
    lengths: list[int], columns: list[list[tuple[int, int]]]
) -> None:
    assert VariableLength(torch.nn.Identity()).columns(lengths) == columns


def test_columns_of_many_sequences_take_no_time() -> None:
    began = time.process_time()
    assert len(VariableLength(torch.nn.Identity()).columns([7] * 4000)) == 4000
    assert time.process_time() - began < 10  # where each looks at all others, minutes
