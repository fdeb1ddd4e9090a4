"""Layers whose field `module` is another module than `modules` holds: what Torch7 runs is converted, and noted."""

from __future__ import annotations

import golden
import lua
import numpy as np
import pytest
import torch

import torchmigrate as tm

CASES = {case["name"]: case for case in tm.load(golden.FIXTURES / "files" / "other_module.t7").list()}


@pytest.mark.parametrize("name", CASES)
def test_the_module_that_torch7_runs_is_converted(name: str) -> None:
    case = CASES[name]
    conversion = tm.convert(case["module"])
    golden.assert_same(conversion.module(tm.to_torch(case["input"])), tm.to_torch(case["output"]), name)
    noted = any("its field `module`" in text for _, text in conversion.notes)
    assert noted == case["differs"]


@pytest.mark.parametrize(
    "noisy",
    [
        lua.module("nn.Dropout", p=0.5, train=True),
        lua.module("nn.RReLU", lower=0.125, upper=0.375, train=True),
        lua.module("nn.WhiteNoise", mean=0, std=0.1, train=True),
    ],
    ids=str,
)
def test_a_module_that_would_go_on_training_is_refused(noisy: tm.LuaObject) -> None:
    step = lua.sequential(lua.linear(4, 3), noisy)
    other = lua.module("nn.Recursor", recurrentModule=step, modules=[step], sharedClones=[step])
    layer = lua.module("nn.Sequencer", module=other, modules=[lua.linear(4, 3)])
    with pytest.raises(tm.UnsupportedLayers, match="does not reach its `module`"):
        tm.convert(layer)


def test_sub_sampling_reads_the_first_numbers_of_a_weight_that_is_too_large() -> None:
    fields = {"nInputPlane": 2, "kW": 2, "kH": 1, "dW": 2, "dH": 1, "bias": np.array([0.5, -0.5])}
    conversion = tm.convert(lua.module("nn.SpatialSubSampling", weight=np.arange(3.0, 11.0).reshape(2, 2, 2), **fields))
    x = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]]], dtype=torch.float64)
    assert conversion.module(x).tolist() == [[[[9.5]], [[119.5]]]]
    assert any("its weight is of size 2x2x2" in text for _, text in conversion.notes)
