"""Criterions: fields of old files, and shapes for which PyTorch's own losses would broadcast."""

from __future__ import annotations

import lua
import numpy as np
import pytest
import torch

import torchmigrate as tm


@pytest.mark.parametrize("typename", ["nn.MSECriterion", "nn.AbsCriterion", "nn.SmoothL1Criterion"])
def test_only_the_number_of_elements_must_fit(typename: str) -> None:
    module = tm.convert(lua.module(typename)).module
    x, target = torch.randn(4, 1), torch.randn(4)
    torch.testing.assert_close(module(x, target), module(x[:, 0], target))
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        module(x, torch.randn(3))


def test_targets_that_do_not_fit_are_refused() -> None:
    module = tm.convert(lua.module("nn.ClassNLLCriterion")).module
    with pytest.raises(ValueError, match="don't fit"):
        module(torch.randn(4, 3), torch.tensor([1, 2, 3]))
    with pytest.raises(RuntimeError, match="out of bounds"):
        module(torch.randn(2, 3), torch.tensor([1, 4]))


def test_a_batch_of_ignored_targets_costs_nothing() -> None:
    module = tm.convert(lua.module("nn.ClassNLLCriterion", ignoreIndex=2)).module
    assert module(torch.full((2, 3), -np.inf), torch.tensor([2, 2])) == 0
    assert module(torch.randn(3), 2) == 0


@pytest.mark.parametrize(("changed", "expected"), [(True, False), (False, True)])
def test_cross_entropy_hands_on_a_changed_size_average(changed: bool, expected: bool) -> None:
    nll = lua.module("nn.ClassNLLCriterion", sizeAverage=True)
    layer = lua.module("nn.CrossEntropyCriterion", nll=nll, sizeAverage=not changed, oldSizeAverage=True)
    assert tm.convert(layer).module.nll.average is expected


def test_old_cross_entropy_keeps_its_own_size_average() -> None:
    nll = lua.module("nn.ClassNLLCriterion", sizeAverage=False)
    assert tm.convert(lua.module("nn.CrossEntropyCriterion", nll=nll)).module.nll.average is False


def test_parallel_criterion_takes_rows_of_a_tensor() -> None:
    inner = [lua.module("nn.MarginRankingCriterion", margin=0.5), lua.module("nn.MarginRankingCriterion", margin=0.5)]
    module = tm.convert(lua.module("nn.ParallelCriterion", criterions=inner, weights=[1, 2])).module
    pair = [torch.tensor([1.0]), torch.tensor([0.75])]
    assert module([pair, pair], torch.tensor([1.0, -1.0])) == pytest.approx(0.25 + 2 * 0.75)


def test_a_pair_needs_a_number_as_target() -> None:
    module = tm.convert(lua.module("nn.L1HingeEmbeddingCriterion", margin=1)).module
    with pytest.raises(TypeError, match="number"):
        module([torch.ones(2), torch.zeros(2)], torch.tensor([-1.0]))


def test_rewards_teach_the_baseline() -> None:
    criterion = lua.module("nn.MSECriterion", sizeAverage=True)
    layer = lua.module("nn.VRClassReward", criterion=criterion, scale=2, sizeAverage=True)
    baseline = torch.zeros(2, 1, requires_grad=True)
    loss = tm.convert(layer).module([torch.eye(2), baseline], torch.tensor([1, 1]))
    loss.backward()
    assert loss == -1
    assert baseline.grad is not None
    assert baseline.grad.tolist() == [[-2.0], [0.0]]


def test_cross_entropy_of_volumes() -> None:
    nll = lua.module("nn.SpatialClassNLLCriterion", sizeAverage=True)
    spatial = lua.module("cudnn.SpatialCrossEntropyCriterion", nll=nll, sizeAverage=False)
    module = tm.convert(lua.module("cudnn.VolumetricCrossEntropyCriterion", scec=spatial)).module
    x, target = torch.randn(2, 3, 2, 4, 5), torch.randint(1, 4, (2, 2, 4, 5))
    expected = torch.nn.functional.cross_entropy(x, target - 1, reduction="sum")
    torch.testing.assert_close(module(x, target), expected)
