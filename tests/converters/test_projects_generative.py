"""Classes without settings, told from others of the same name by their fields; random layers by their statistics."""

from __future__ import annotations

import pytest
import torch

import torchmigrate as tm


def lua(typename: str, **fields: float | str) -> tm.LuaObject:
    return tm.LuaObject(typename, tm.LuaTable(fields.items()))


@pytest.mark.parametrize(
    "value",
    [
        lua("nn.Sampler", temperature=0.5),
        lua("nn.KLDPenalty", lambda_=0.1),
        lua("nn.GaussianCriterion", sizeAverage=1.0),
        lua("nn.Gaussian", mean=0.0, stdv=1.0, decay=0.9),
        lua("nn.Uniform", a=0.0, b=1.0, decay=0.9),
        lua("nn.maskSoftMax", dim=2.0),
        lua("nn.MultiSkipAdd", scale=0.1),
    ],
    ids=lambda value: value.typename,
)
def test_another_class_of_the_same_name_is_refused(value: tm.LuaObject) -> None:
    with pytest.raises(tm.UnsupportedLayers, match="it has fields that the class known by this name has not"):
        tm.convert(value)


def test_noise_has_its_mean_and_spread() -> None:
    torch.manual_seed(0)
    zeros = torch.zeros(20000, dtype=torch.float64)
    normal = tm.convert(lua("nn.Gaussian", mean=2.0, stdv=0.5)).module(zeros)
    assert (float(normal.mean()), float(normal.std())) == pytest.approx((2.0, 0.5), abs=0.02)
    uniform = tm.convert(lua("nn.Uniform", a=-1.0, b=3.0)).module(zeros)
    assert -1 <= float(uniform.min()) < -0.99 < 2.99 < float(uniform.max()) <= 3
    sample = tm.convert(lua("nn.Sampler")).module([zeros + 1, zeros + 2.0])
    assert (float(sample.mean()), float(sample.std())) == pytest.approx((1.0, 2.718281828), abs=0.06)


def test_shakes_share_an_entry_out_between_the_branches() -> None:
    options = {"forwardShake": "true", "backwardShake": "true", "shakeImage": "true", "batchSize": 2.0}
    module = tm.convert(lua("nn.ShakeShakeTable", **options)).module.train()
    torch.manual_seed(0)
    x, y = (torch.ones(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    _, first, second = module([x, x, y])
    (first + second).sum().backward()
    assert torch.allclose(first + second, torch.ones_like(x))
    assert x.grad is not None
    assert y.grad is not None
    assert torch.allclose(x.grad + y.grad, torch.ones_like(x))
    assert len(set(first[:, 0].tolist())) == 3
    assert not torch.allclose(x.grad, first.detach())
