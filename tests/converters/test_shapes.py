"""Layers that change shapes: errors, old files, copies where Torch7 copies."""

from __future__ import annotations

import lua
import pytest
import torch
from torch import nn

import torchmigrate as tm


def storage(*sizes: int) -> tm.LuaTable:
    return lua.value(list(sizes))


def test_view_that_does_not_fit_a_sample_is_refused() -> None:
    module = tm.convert(lua.module("nn.View", size=storage(6), numInputDims=1)).module
    with pytest.raises(ValueError, match="does not fit"):
        module(torch.zeros(4, 3))


def test_unsqueeze_takes_no_fewer_dimensions_than_it_remembers() -> None:
    module = tm.convert(lua.module("nn.Unsqueeze", pos=1, numInputDims=2)).module
    assert module(torch.zeros(5, 3, 4)).shape == (5, 1, 3, 4)
    with pytest.raises(ValueError, match="fewer than 2"):
        module(torch.zeros(3))


@pytest.mark.parametrize(
    "layer",
    [
        lua.module("nn.Narrow", dimension=2, index=1, length=2),
        lua.module("nn.Select", dimension=2, index=1),
        lua.module("nn.Transpose", permutations=[[1, 2]]),
    ],
)
def test_parts_are_copies_that_may_be_changed_in_place(layer: tm.LuaObject) -> None:
    relu = lua.module("nn.ReLU", threshold=0, val=0, inplace=True)
    whole = lua.module("nn.ConcatTable", modules=[lua.sequential(layer, relu), lua.module("nn.Identity")])
    x = -torch.ones(3, 3)
    part, rest = tm.convert(whole).module(x)
    assert not part.any()
    assert torch.equal(rest, -torch.ones(3, 3))


@pytest.mark.parametrize("name", ["dimension", "index"])
def test_index_zero_is_refused(name: str) -> None:
    with pytest.raises(tm.UnsupportedLayers, match="counts from 1"):
        tm.convert(lua.module("nn.Select", **{"dimension": 1, "index": 1, name: 0}))


def test_mean_of_an_old_file_averages() -> None:
    module = tm.convert(lua.module("nn.Mean", dimension=1)).module
    assert module(torch.tensor([1.0, 3.0])).tolist() == [2.0]
    module = tm.convert(lua.module("nn.Sum", dimension=1)).module
    assert module(torch.tensor([1.0, 3.0])).tolist() == [4.0]


def test_softmax_of_five_dimensions_is_an_error() -> None:
    for name in ("nn.SoftMax", "nn.LogSoftMax", "nn.SoftMin", "cudnn.SoftMax"):
        with pytest.raises(ValueError, match="1 to 4 dimensions"):
            tm.convert(lua.module(name)).module(torch.zeros(1, 1, 1, 1, 1))


def test_in_place_layer_behind_one_that_needs_its_output() -> None:
    constant = lua.module("nn.MulConstant", constant_scalar=2, inplace=True)
    module = tm.convert(lua.sequential(lua.module("nn.Tanh"), constant)).module
    x = torch.randn(3, requires_grad=True)
    module(x).sum().backward()
    torch.testing.assert_close(x.grad, 2 * (1 - x.detach().tanh() ** 2))


def test_cudnn_activation_of_another_mode_is_refused() -> None:
    with pytest.raises(tm.UnsupportedLayers, match="CUDNN_ACTIVATION_TANH"):
        tm.convert(lua.module("cudnn.ReLU", mode="CUDNN_ACTIVATION_TANH"))


def test_threshold_stays_one_when_it_is_no_relu() -> None:
    assert isinstance(tm.convert(lua.module("nn.ReLU", threshold=0.5, val=0)).module, nn.Threshold)
    assert isinstance(tm.convert(lua.module("nn.ReLU")).module, nn.ReLU)
