"""LSTMs that Torch7 ran step by step, in nn.LSTM: they give what Torch7 gave."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden import FIXTURES
from sequences import Around, Cells, Stacked, Tagger
from torch import nn

import torchmigrate as tm

SHAPE = "the .t7 file gives 12x3, the target the same numbers as 4x3x3"
TABLE = "the .t7 file gives a table of 4 tensors, the target the same numbers as one, 4x3x11"


def matched(name: str, module: nn.Module) -> tuple[tm.Match, torch.Tensor, torch.Tensor]:
    found: Any = tm.load(FIXTURES / "sequenced" / f"{name}.t7")
    x = tm.to_torch(found["input"])
    result = tm.match(tm.convert(found["module"]), module, input_shape=(4, 3))
    with torch.no_grad():
        return result, module.eval()(x.long() - 1), tm.to_torch(found["outputs"])[0]


@pytest.mark.parametrize(
    ("name", "module", "notes"),
    [
        pytest.param("both_ways", Tagger([6, 5, 4], classes=3, both=True), [SHAPE], id="nn.BiSequencer, twice"),
        pytest.param("last", Tagger([6, 5], classes=3, last=True), ["ends with LogSoftMax()"], id="the last step"),
        pytest.param("last", Cells(), [], id="nn.LSTMCell"),
        pytest.param("language_both_ways", Around(), [TABLE], id="nn.BiSequencerLM"),
        pytest.param("remembers", Stacked(), ["remembers its state", TABLE], id="two layers in one"),
        pytest.param("remembers", Stacked(batch_first=True), ["remembers its state", TABLE], id="samples first"),
        pytest.param("unequal", Tagger([5, 5, 4]), ["remembers its state", "layer 3.1.1.3 (Linear)"], id="unequal"),
    ],
)
def test_it_gives_what_torch7_gave(name: str, module: nn.Module, notes: list[str]) -> None:
    result, output, expected = matched(name, module)
    assert len(result.notes) == len(notes), result.notes
    assert all(part in note for part, note in zip(notes, result.notes, strict=True)), result.notes
    if not result.to_the_end:
        output = torch.log_softmax(output, -1)
    torch.testing.assert_close(output.reshape(expected.shape), expected, rtol=1e-5, atol=1e-6)


def test_it_says_which_lstm_does_not_fit() -> None:
    with pytest.raises(
        tm.NetworksDiffer, match=r"at layers.0 \(LSTM\) of the target: .*weight_ih is 20x6, the target's is 16x6"
    ):
        matched("last", Tagger([6, 4], classes=3, last=True))
    with pytest.raises(tm.NetworksDiffer, match=r"part at (layers.0|out)"):  # both directions, where there is one
        matched("last", Tagger([6, 5], classes=3, last=True, both=True))
