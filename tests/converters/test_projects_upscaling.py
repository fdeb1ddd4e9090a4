"""Layers of waifu2x, compared with their definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lua
import numpy as np
import project_checks as checks
import pytest
import torch

import torchmigrate as tm

IMAGES = lua.numbers(2, 3, 4, 5, seed=1)
GRAD = lua.numbers(2, 3, 4, 5, seed=2)


def test_leaky_relu(tmp_path: Path) -> None:
    made = lua.module("w2nn.LeakyReLU", negative_scale=0.1, negative=np.zeros(0))
    checks.check(made, IMAGES, np.where(IMAGES > 0, IMAGES, 0.1 * IMAGES), tmp_path)


def test_clip_01(tmp_path: Path) -> None:
    module = checks.check(lua.module("w2nn.InplaceClip01"), IMAGES, IMAGES.clip(0, 1), tmp_path)
    np.testing.assert_array_equal(checks.gradient(module, IMAGES, GRAD).numpy(), GRAD)


def test_scale_table(tmp_path: Path) -> None:
    scale = lua.numbers(2, 3, 1, 1, seed=3)
    checks.check(lua.module("w2nn.ScaleTable", scale=np.zeros(0)), [IMAGES, scale], IMAGES * scale, tmp_path)


def test_auxiliary_loss_table(tmp_path: Path) -> None:
    made = lua.module("w2nn.AuxiliaryLossTable", i=2, output_table=[], output_tensor=np.zeros(0))
    module = checks.check(made, [IMAGES, GRAD], GRAD, tmp_path, onnx=False)
    assert len(module.train()(checks.torched([IMAGES, GRAD]))) == 2


def test_grad_weight(tmp_path: Path) -> None:
    module = checks.check(lua.module("w2nn.GradWeight", constant_scalar=-0.5), IMAGES, IMAGES, tmp_path)
    np.testing.assert_allclose(checks.gradient(module, IMAGES, GRAD).numpy(), -0.5 * GRAD)


@pytest.mark.parametrize("typename", ["w2nn.Print", "w2nn.PrintTable"])
def test_print(typename: str, tmp_path: Path) -> None:
    checks.check(lua.module(typename, id="here"), IMAGES, IMAGES, tmp_path, onnx=False)


def test_shake_shake_table(tmp_path: Path) -> None:
    made = lua.module("w2nn.ShakeShakeTable", alpha=np.zeros(0), beta=np.zeros(0), train=True)
    module = checks.check(made, [IMAGES, GRAD], IMAGES + GRAD, tmp_path)
    module.train()
    one, zero = torch.ones(2, 3), torch.zeros(2, 3)
    x = [one.clone().requires_grad_(), zero.clone().requires_grad_()]
    output = module(x)
    share = 1 - output / 2  # of the second, one for each sample
    assert ((share >= 0) & (share <= 1)).all()
    torch.testing.assert_close(share, share[:, :1].expand(2, 3))
    output.sum().backward()
    first, second = x[0].grad, x[1].grad
    torch.testing.assert_close(first + second, one)
    assert not torch.equal(first, 1 - share)


def test_edge_filter(tmp_path: Path) -> None:
    weight = lua.numbers(4, 3, 3, 3)
    sizes = {"nInputPlane": 3, "nOutputPlane": 4, "kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": 0, "padH": 0}
    expected = np.zeros((2, 4, 2, 3))
    for i in range(2):
        for j in range(3):
            expected[:, :, i, j] = np.einsum("ocij,ncij->no", weight, IMAGES[:, :, i : i + 3, j : j + 3])
    checks.check(lua.module("w2nn.EdgeFilter", weight=weight, **sizes), IMAGES, expected, tmp_path)
    made = lua.module("w2nn.RandomBinaryConvolution", weight=weight, kSparsity=0.9, **sizes)
    checks.check(made, IMAGES, expected, tmp_path / "binary")


def loss_gradient(made: tm.LuaObject, x: Any, target: Any) -> Any:
    leaf = torch.from_numpy(x).requires_grad_()
    tm.convert(made).module(leaf, torch.from_numpy(target)).backward()
    return leaf.grad.numpy()


def test_clipped_mse_criterion() -> None:
    made = lua.module("w2nn.ClippedMSECriterion", min=-0.5, max=0.5, instance_loss=[0.1])
    error = IMAGES.clip(-0.5, 0.5) - GRAD
    checks.check_loss(made, IMAGES, GRAD, (error**2).mean())
    np.testing.assert_allclose(loss_gradient(made, IMAGES, GRAD), error / 120)


def test_clipped_weighted_huber_criterion() -> None:
    weight = np.abs(lua.numbers(3, 4, 5, seed=4))
    made = lua.module("w2nn.ClippedWeightedHuberCriterion", weight=weight, gamma=0.75, clip=[0, 1])
    error = (IMAGES.clip(0, 1) - GRAD) * weight
    losses = np.where(np.abs(error) < 0.75, error**2 / 2, 0.75 * (np.abs(error) - 0.375))
    module = checks.check_loss(made, IMAGES, GRAD, losses.sum() / 120)
    np.testing.assert_allclose(loss_gradient(made, IMAGES, GRAD), error.clip(-0.75, 0.75) / 120)
    flat = module(*(torch.from_numpy(x.reshape(2, 60)) for x in (IMAGES, GRAD)))
    np.testing.assert_allclose(flat.item(), losses.sum() / 120)


def test_l1_criterion() -> None:
    made = lua.module("w2nn.L1Criterion", diff=np.zeros(0))
    checks.check_loss(made, IMAGES, GRAD, np.abs(IMAGES - GRAD).mean())
    np.testing.assert_allclose(loss_gradient(made, IMAGES, GRAD), np.sign(IMAGES - GRAD) / 120)
    vector = lua.numbers(4)
    checks.check_loss(made, vector, np.array([0.5]), (abs(vector[0] - 0.5) + np.abs(vector[1:]).sum()) / 4)
