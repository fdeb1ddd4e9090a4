"""Random layers: what the golden files can't hold."""

from __future__ import annotations

from typing import Any

import lua
import numpy as np
import pytest
import torch
from torch import nn

import torchmigrate as tm


def converted(typename: str, *, train: bool = True, **fields: Any) -> nn.Module:
    layer = lua.module(typename, train=train, **fields)
    return tm.convert(layer, mode="saved").module


@pytest.mark.parametrize(
    ("fields", "kept", "evaluated"),
    [
        ({"v2": True}, 1 / 0.8, 1.0),
        ({"v2": False}, 1.0, 0.8),
        ({}, 1.0, 0.8),  # a file from before version 2
        ({"v2": True, "lazy": True, "mono": False}, 1 / 0.8, 1.0),
    ],
)
def test_versions_of_dropout(fields: dict[str, Any], kept: float, evaluated: float) -> None:
    module = converted("nn.Dropout", p=0.2, noise=np.zeros(0), **fields)
    x = torch.ones(100, 100)
    y = module(x.clone())
    np.testing.assert_allclose(y.unique().numpy(), [0, kept], rtol=1e-6)
    assert abs((y == 0).double().mean().item() - 0.2) < 0.02
    np.testing.assert_allclose(module.eval()(x.clone()).unique().numpy(), [evaluated], rtol=1e-6)


def test_plain_dropout_is_the_stock_one() -> None:
    module = converted("nn.Dropout", p=0.3, v2=True, stochastic_inference=False, inplace=False)
    assert type(module) is nn.Dropout
    assert module.p == 0.3


def test_stochastic_inference_drops_in_evaluation() -> None:
    module = converted("nn.Dropout", train=False, p=0.5, v2=True, stochastic_inference=True)
    assert set(module(torch.ones(1000)).tolist()) == {0.0, 2.0}


def test_lazy_dropout_keeps_its_mask_until_a_backward_pass() -> None:
    module = converted("nn.Dropout", p=0.5, v2=True, lazy=True)
    x = torch.ones(1000, requires_grad=True)
    first, second = module(x), module(x)
    assert torch.equal(first, second)
    (first + second).sum().backward()
    assert not torch.equal(first, module(x))


def test_mono_dropout_uses_one_mask_for_the_batch() -> None:
    module = converted("nn.Dropout", p=0.5, v2=True, mono=True)
    y = module(torch.ones(3, 1000))
    assert torch.equal(y[0], y[1])
    assert set(y.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(("typename", "shape"), [("nn.SpatialDropout", (4, 4)), ("nn.VolumetricDropout", (2, 4, 4))])
@pytest.mark.parametrize("batch", [(), (50,)])
def test_feature_dropout_drops_whole_maps(typename: str, shape: tuple[int, ...], batch: tuple[int, ...]) -> None:
    module = converted(typename, p=0.3)
    y = module(torch.ones(*batch, 40, *shape)).flatten(-len(shape))
    assert set(y.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(y.amin(-1), y.amax(-1))
    with pytest.raises(ValueError, match="dimensions"):
        module(torch.ones(40))


def test_white_noise() -> None:
    module = converted("nn.WhiteNoise", mean=0.5, std=0.1)
    y = module(torch.zeros(10000))
    assert abs(y.mean().item() - 0.5) < 0.01
    assert abs(y.std().item() - 0.1) < 0.01


def test_total_dropout_drops_everything_or_nothing() -> None:
    module = converted("nn.TotalDropout", p=0.5)
    assert {tuple(module(torch.ones(2)).tolist()) for _ in range(100)} == {(0.0, 0.0), (1.0, 1.0)}


def test_rrelu_in_training_takes_random_slopes() -> None:
    module = converted("nn.RReLU", lower=0.25, upper=0.5, inplace=False)
    y = module(-torch.ones(1000))
    assert y.min() >= -0.5
    assert y.max() <= -0.25
    assert y.std() > 0.05


def test_balance_makes_classes_equally_probable() -> None:
    module = converted("nn.Balance", nBatch=2)
    x = torch.softmax(torch.randn(6, 3), 1)
    for _ in range(2):
        y = module(x)
    prior = x.mean(0) / x.mean(0).sum()
    expected = x / prior / (x / prior).sum(1, keepdim=True)
    torch.testing.assert_close(y, expected)
