"""What Torch7 could not record of facebook/fbnn's classes: random numbers, other devices, what is refused."""

from __future__ import annotations

import lua
import numpy as np
import project_checks as checks
import pytest
import torch


def test_nested_dropout_drops_what_lies_behind_a_column() -> None:
    module = checks.converted(lua.module("fbnn.NestedDropout", p=0.3)).module.train()
    y = module(torch.ones(2000, 4, dtype=torch.float64))
    kept = y != 0
    scales = 1 / 0.7 ** torch.arange(1, 5, dtype=torch.float64)
    torch.testing.assert_close(y, torch.where(kept, scales, 0))
    assert (kept[:, 1:] <= kept[:, :-1]).all()
    shares = kept.double().mean(0)
    torch.testing.assert_close(shares, 0.7 ** torch.arange(4, dtype=torch.float64), atol=0.05, rtol=0)


def test_individual_dropout_divides_by_what_it_keeps() -> None:
    module = checks.converted(lua.module("fbnn.IndividualDropout", p=np.array([1.0, 0.25], np.float32))).module.train()
    y = module(torch.ones(2000, 2))
    assert y[:, 0].eq(1).all()
    assert set(y[:, 1].tolist()) == {0.0, 4.0}
    assert abs(float(y[:, 1].mean()) - 1) < 0.2


@pytest.mark.parametrize(
    ("tensortype", "index", "targets", "expected"),
    [
        ("torch.DoubleTensor", 3, [1, 2], 1.5),
        ("torch.DoubleTensor", 2, [1, 2], 1.0),
        ("torch.DoubleTensor", 2, [2, 2], 0.0),
        ("torch.CudaTensor", 3, [1, 2], 3.0),
        ("torch.CudaTensor", None, [1, 2], 1.5),
    ],
)
def test_unknown_classes(tensortype: str, index: int | None, targets: list[int], expected: float) -> None:
    crit = lua.module("nn.ClassNLLCriterion", sizeAverage=True)
    fields = {"crit": crit, "tensortype": tensortype} | ({"unk_index": index} if index else {})
    made = lua.module("nn.ClassNLLCriterionWithUNK", **fields)
    checks.check_loss(made, np.array([[-1.0, -3.0, -5.0], [-4.0, -2.0, -6.0]]), np.array(targets), expected)


def test_a_convolution_whose_linear_layer_has_other_weights_is_refused() -> None:
    weight = np.ones((2, 6))
    linear = lua.module("nn.Linear", weight=weight.copy())
    sizes = {"kW": 2, "dW": 1, "pad": 0, "inputFrameSize": 3, "outputFrameSize": 2}
    made = lua.module("nn.UnfoldedTemporalConvolution", weight=weight, linear=linear, **sizes)
    assert "not that of its linear layer" in checks.refused(made)


def test_what_is_computed_in_c_is_refused_with_the_reason() -> None:
    reason = checks.refused(lua.module("nn.KMaxPooling", k=2.0, k_dynamic=-1.0))
    assert "compute it in C++ or CUDA" in reason
    assert "--alias nn.KMaxPooling=nn." in reason
