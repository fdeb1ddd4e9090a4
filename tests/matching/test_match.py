"""The weights of a .t7 file in classes that people wrote: they give what Torch7 gave, or it is said where they part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from golden import FIXTURES
from safetensors.torch import load_file
from targets import Crnn, FireNet, Words, bottleneck, residual
from torch import nn

import torchmigrate as tm

FILES = FIXTURES / "match"
SIZES = {"fire": "2x3x18x16", "crnn": "2x1x8x20"}


def matched(name: str, module: nn.Module, **options: Any) -> tm.Match:
    return tm.match(tm.convert(FILES / f"{name}.t7"), module, input_shape=SIZES.get(name), **options)


def answer(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    found = tm.load(FILES / f"{name}.answer.t7")
    return tm.to_torch(found["input"]), tm.to_torch(found["output"])


@pytest.mark.parametrize(
    ("name", "module"),
    [
        pytest.param("residual", residual(), id="biases folded into the normalization behind them"),
        pytest.param("residual", residual(bias=True), id="biases kept"),
        pytest.param("bottleneck", bottleneck(), id="NOT to the end"),
        pytest.param("fire", FireNet(), id="two branches, defined in another order"),
        pytest.param("fire", FireNet(own=True), id="a matrix with another name, transposed"),
        pytest.param("fire", FireNet(wide=True), id="a convolution in place of a linear layer"),
        pytest.param("words", Words(), id="indices from 0"),
        pytest.param("crnn", Crnn(), id="both directions in one nn.LSTM"),
        pytest.param("crnn", Crnn(batch_first=True), id="samples before steps"),
    ],
)
def test_it_gives_what_torch7_gave(name: str, module: nn.Module) -> None:
    result = matched(name, module)
    x, expected = answer(name)
    output = module.eval()(x.long() - 1 if name == "words" else x)
    if name == "bottleneck":
        output = torch.log_softmax(output, 1)
        assert [note[:23] for note in result.notes] == ["NOT the same to the end"]
        assert "LogSoftMax()" in result.notes[0]
    else:
        assert result.notes == []
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
    assert {pair.name for pair in result.pairs} == {
        key for key in module.state_dict() if not key.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize(
    ("name", "module", "said"),
    [
        pytest.param(
            *("bottleneck", bottleneck(first=False), "layers.1.conv1 (Conv2d) of the target: layer 6.1.1.1 (Conv2d)"),
            id="the stride in another convolution",
        ),
        pytest.param(
            *("bottleneck", bottleneck(first=False), "stride is (2, 2) in the .t7 file and (1, 1) in the target"),
            id="which strides",
        ),
        pytest.param("residual", residual(eps=1e-3), "bn1 (BatchNorm2d) of the target: layer 2 (BatchNorm)", id="eps"),
        pytest.param("residual", residual(eps=1e-3), "eps is 1e-05 in the .t7 file and 0.001", id="which eps"),
        pytest.param("residual", residual(padding=0), "of layer 4 and pool: padding is (1, 1)", id="padding of a pool"),
        pytest.param("residual", residual(classes=7), "weight is 5x6, the target's is 7x6", id="another head"),
        pytest.param("fire", FireNet(ceil=False), "ceil_mode is True in the .t7 file and False", id="rounding"),
        pytest.param("fire", FireNet(exchanged=True), "at features.4.squeeze (Conv2d)", id="joined in another order"),
        pytest.param("fire", FireNet(last=True), "at classifier.0 (Linear) of the target: its", id="head transposed"),
        pytest.param("words", Words(torch.log_softmax), "part behind the last of them", id="another end"),
        pytest.param("crnn", Crnn(hidden=2), "weight_ih is 12x8, the target's is 8x8", id="another LSTM"),
        pytest.param("crnn", Words(), "at embed (Embedding) of the target", id="another network"),
    ],
)
def test_it_says_where_they_part(name: str, module: nn.Module, said: str) -> None:
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with pytest.raises(tm.NetworksDiffer) as failed:
        matched(name, module)
    assert said in str(failed.value)
    assert failed.value.exit_code == 1
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())


def test_a_new_head(tmp_path: Path) -> None:
    module = residual(classes=7)
    head = module.fc.weight.clone()
    result = matched("residual", module, exclude=["fc"])
    assert torch.equal(module.fc.weight, head)
    assert result.notes == ["fc: left out; equal up to what gets there, and nothing behind it was compared"]
    file, table = result.save(tmp_path / "new.safetensors")
    written = load_file(file)
    again = residual(classes=7)
    assert again.load_state_dict(written, strict=False).missing_keys == ["fc.weight", "fc.bias"]
    x, expected = answer("residual")
    again.fc = nn.Linear(6, 5)
    again.fc.load_state_dict(tm.convert(FILES / "residual.t7").module[-1].state_dict())
    torch.testing.assert_close(again.eval()(x), expected, rtol=1e-5, atol=1e-6)
    lines = table.read_text("utf-8").splitlines()
    assert lines[:2] == ["target\tsize\tTorch7 path\ttensor\tnote", "conv1.weight\t4x3x7x7\t1\tweight\t"]
    assert lines[-1] == f"# {result.notes[0]}"


def test_what_comes_before_a_part_that_is_left_out_is_proven() -> None:
    module = residual(classes=7)
    module.avg = nn.AdaptiveMaxPool2d(1)
    with pytest.raises(tm.NetworksDiffer, match="part before fc of the target, which is left out"):
        matched("residual", module, exclude=["fc"])


def test_what_nothing_went_into_is_named() -> None:
    module = residual()
    module.more = nn.Linear(3, 2)
    with pytest.raises(tm.NetworksDiffer, match=r"went into more.weight, more.bias of the target.*--except more"):
        matched("residual", module)
    assert matched("residual", module, exclude="more").notes == []


def test_a_bias_without_a_place() -> None:
    module = FireNet()
    module.classifier[3] = nn.Linear(7, 4, bias=False)
    with pytest.raises(
        tm.NetworksDiffer, match=r"Missing bias: layer 9 \(Linear\).*classifier.3 of the target has none"
    ):
        matched("fire", module)


def test_rounding_that_does_not_show_at_this_size() -> None:
    result = tm.match(tm.convert(FILES / "fire.t7"), FireNet(ceil=False), input_shape=(2, 3, 20, 16))
    assert any("ceil_mode is True and False, which gives the same at this size" in note for note in result.notes)


def test_an_unknown_part() -> None:
    with pytest.raises(tm.UsageError, match=r"no part 'fcs'.*others are fc"):
        matched("residual", residual(), exclude=["fcs"])


def test_double_and_tied() -> None:
    module = Words().double()
    module.two.weight = module.one.weight = nn.Parameter(torch.zeros(6, 15, dtype=torch.float64))
    with pytest.raises(tm.NetworksDiffer, match=r"fails|part at two"):
        matched("words", module)
    assert matched("words", Words().double()).module.one.weight.dtype == torch.float64
