"""Layers of fast-neural-style, neural-style, AdaIN-style, texture_nets and CycleGAN, held to their definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lua
import numpy as np
import project_checks as checks
import pytest
import torch

import torchmigrate as tm

IMAGES = lua.numbers(2, 3, 5, 7, seed=1)
GRAD = lua.numbers(2, 3, 5, 7, seed=2)


def test_shave_image(tmp_path: Path) -> None:
    checks.check(lua.module("nn.ShaveImage", size=2), IMAGES, IMAGES[:, :, 2:-2, 2:-2], tmp_path)


@pytest.mark.parametrize(("fields", "divisor"), [({"normalize": True}, 3 * 5 * 7), ({"normalize": False}, 1), ({}, 1)])
def test_gram_matrix(fields: dict[str, Any], divisor: int, tmp_path: Path) -> None:
    expected = np.einsum("nchw,ndhw->ncd", IMAGES, IMAGES) / divisor
    made = lua.module("nn.GramMatrix", buffer=np.zeros(0), **fields)
    module = checks.check(made, IMAGES, expected, tmp_path)
    np.testing.assert_allclose(module(torch.from_numpy(IMAGES[1])).numpy(), expected[1])


@pytest.mark.parametrize("typename", ["nn.TotalVariation", "nn.TVLoss"])
def test_total_variation(typename: str, tmp_path: Path) -> None:
    made = lua.module(typename, strength=0.25, x_diff=np.zeros(0), y_diff=np.zeros(0))
    module = checks.check(made, IMAGES, IMAGES, tmp_path)
    expected = GRAD.copy()
    for i in range(4):
        for j in range(6):
            for k, m in ((i, j + 1), (i + 1, j)):
                difference = IMAGES[:, :, i, j] - IMAGES[:, :, k, m]
                expected[:, :, i, j] += 0.25 * difference
                expected[:, :, k, m] -= 0.25 * difference
    np.testing.assert_allclose(checks.gradient(module, IMAGES, GRAD).numpy(), expected)


def test_total_variation_of_adain(tmp_path: Path) -> None:
    module = checks.check(lua.module("nn.TVLossModule", strength=0.5, loss=3.0), IMAGES, IMAGES, tmp_path)
    across, down = np.diff(IMAGES, axis=3), np.diff(IMAGES, axis=2)
    loss = checks.check_loss(lua.module("nn.TVLossCriterion"), IMAGES, [], (across**2).sum() + (down**2).sum())
    x = torch.from_numpy(IMAGES).requires_grad_()
    loss(x).backward()
    got = checks.gradient(module, IMAGES, GRAD)
    torch.testing.assert_close(got, 0.5 * x.grad + torch.from_numpy(GRAD))


def test_deep_dream_loss(tmp_path: Path) -> None:
    module = checks.check(lua.module("nn.DeepDreamLoss", strength=0.1, max_grad=1.0, loss=0), IMAGES, IMAGES, tmp_path)
    got = checks.gradient(module, IMAGES, GRAD).numpy()
    np.testing.assert_allclose(got, GRAD - 0.1 * IMAGES.clip(-1, 1))


@pytest.mark.parametrize(
    ("typename", "fields", "noted"),
    [
        ("nn.ContentLoss", {"mode": "none", "target": np.zeros(0)}, False),
        ("nn.ContentLoss", {"mode": "loss", "target": IMAGES}, True),
        ("nn.ContentLoss", {"active": True, "target": IMAGES}, True),
        ("nn.StyleLoss", {"mode": "capture", "agg_type": "gram", "agg": lua.module("nn.GramMatrix")}, False),
        ("nn.TextureLoss", {"active": False, "target": np.ones((3, 3))}, False),
        ("nn.StyleINLossModule", {"target_mean": np.ones((1, 3, 1)), "target_std": np.ones((1, 3, 1))}, True),
        ("nn.ContentLossModule", {"nC": 3}, False),
    ],
)
def test_loss_layers(typename: str, fields: dict[str, Any], noted: bool, tmp_path: Path) -> None:
    made = lua.module(typename, strength=2.0, loss=0.5, normalize=False, crit=lua.module("nn.MSECriterion"), **fields)
    checks.check(made, IMAGES, IMAGES, tmp_path)
    assert bool(tm.convert(made).notes) == noted


def test_dummy_grad_output(tmp_path: Path) -> None:
    module = checks.check(lua.module("nn.DummyGradOutput"), IMAGES, IMAGES, tmp_path)
    assert not checks.gradient(module, IMAGES, GRAD).any()


def test_perceptual_criterion_is_refused() -> None:
    assert "loss for training" in checks.refused(lua.module("nn.PerceptualCriterion", net=lua.sequential()))


# Instance normalization

WEIGHT, BIAS = lua.numbers(3, seed=3), lua.numbers(3, seed=4)
ALIASES = {
    "nn.InstanceNormalization": "torchmigrate.InstanceNorm",
    "nn.AdaptiveInstanceNormalization": "torchmigrate.AdaptiveInstanceNorm",
}


def scaled(images: Any) -> Any:
    return images / np.sqrt(1.01) * WEIGHT[:, None, None] + BIAS[:, None, None]


def measured(images: Any, eps: float = 0.01) -> Any:
    mean, variance = images.mean((2, 3), keepdims=True), images.var((2, 3), keepdims=True)
    return (images - mean) / np.sqrt(variance + eps)


def norm(features: int, mean: float = 0.0) -> tm.LuaObject:
    statistics = {"running_mean": np.full(features, mean), "running_var": np.ones(features)}
    return lua.module("nn.SpatialBatchNormalization", **statistics)


def instance(**fields: Any) -> tm.LuaObject:
    return lua.module("nn.InstanceNormalization", nOutput=3, eps=0.01, **fields)


def test_instance_normalization_of_the_last_nn(tmp_path: Path) -> None:
    made = instance(weight=WEIGHT, bias=BIAS, prev_N=2, bn=norm(6))
    checks.check(made, IMAGES, scaled(IMAGES), tmp_path)


def test_instance_normalization_of_texture_nets(tmp_path: Path) -> None:
    fields = {"weight": WEIGHT, "bias": BIAS, "momentum": 0, "affine": True, "prev_batch_size": -1}
    made = instance(running_mean=np.zeros(3), running_var=np.ones(3), **fields)
    checks.check(made, IMAGES, scaled(IMAGES), tmp_path)
    expected = measured(IMAGES) * WEIGHT[:, None, None] + BIAS[:, None, None]
    checks.check(made, IMAGES, expected, tmp_path / "measured", aliases=ALIASES)


def test_updated_statistics_prove_that_planes_were_normalized(tmp_path: Path) -> None:
    expected = measured(IMAGES) * WEIGHT[:, None, None] + BIAS[:, None, None]
    made = instance(weight=WEIGHT, bias=BIAS, prev_N=2, bn=norm(6, mean=0.1))
    checks.check(made, IMAGES, expected, tmp_path)
    assert "until 2017" in str(tm.convert(made).notes)


def test_instance_normalization_without_weights(tmp_path: Path) -> None:
    checks.check(instance(affine=False, prev_N=-1), IMAGES, IMAGES / np.sqrt(1.01), tmp_path)
    checks.check(instance(affine=False), IMAGES, measured(IMAGES), tmp_path / "measured", aliases=ALIASES)
    checks.check(instance(affine=False, disabled=True), IMAGES, IMAGES, tmp_path / "disabled")


def test_adaptive_instance_normalization(tmp_path: Path) -> None:
    style = lua.numbers(2, 3, 4, 6, seed=5)
    std, mean = style.std((2, 3), keepdims=True), style.mean((2, 3), keepdims=True)
    made = lua.module("nn.AdaptiveInstanceNormalization", nOutput=3, eps=0.01, batchSize=-1)
    module = checks.check(made, [IMAGES, style], IMAGES / np.sqrt(1.01) * std + mean, tmp_path)
    one = module([torch.from_numpy(IMAGES[0]), torch.from_numpy(style[0])])
    np.testing.assert_allclose(one.numpy(), (IMAGES / np.sqrt(1.01) * std + mean)[:1])
    expected = measured(IMAGES) * std + mean
    checks.check(made, [IMAGES, style], expected, tmp_path / "measured", aliases=ALIASES)


def test_adaptive_instance_normalization_disabled(tmp_path: Path) -> None:
    made = lua.module("nn.AdaptiveInstanceNormalization", nOutput=3, eps=0.01, batchSize=-1, disabled=True)
    checks.check(made, [IMAGES, IMAGES[::-1].copy()], IMAGES, tmp_path, onnx=False)


def test_adaptive_instance_normalization_with_statistics_is_refused() -> None:
    made = lua.module("nn.AdaptiveInstanceNormalization", nOutput=3, eps=0.01, batchSize=1, bn=norm(3, mean=2.0))
    assert "statistics of its own" in checks.refused(made)


# Texture


def test_circular_padding(tmp_path: Path) -> None:
    made = lua.module("nn.SpatialCircularPadding", pad_l=1, pad_r=3, pad_t=2, pad_b=1)
    expected = np.pad(IMAGES, ((0, 0), (0, 0), (2, 1), (1, 3)), mode="wrap")
    checks.check(made, IMAGES, expected, tmp_path)


@pytest.mark.parametrize("planes", [0, 2, 3])
def test_noise_fill(planes: int) -> None:
    module = checks.converted(lua.module("nn.NoiseFill", num_noise_channels=planes, mult=0.5)).module
    got = module(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_array_equal(got[:, : 3 - planes], IMAGES[:, : 3 - planes])
    noise = got[:, 3 - planes :]
    assert noise.shape == (2, planes, 5, 7)
    assert ((noise >= 0) & (noise <= 0.5)).all()
    assert planes == 0 or 0.2 < noise.mean() < 0.3


def test_gen_noise() -> None:
    module = checks.converted(lua.module("nn.GenNoise", num_planes=40, mult=3.0)).module
    got = module(torch.from_numpy(IMAGES))
    assert got.shape == (2, 40, 5, 7)
    assert got.dtype == torch.float64
    assert 2.8 < got.std() < 3.2


def test_vgg_postprocess(tmp_path: Path) -> None:
    images = IMAGES.astype("f4")
    expected = (images + 1) * np.float32(127.5) - np.array([103.939, 116.779, 123.68], "f4")[:, None, None]
    checks.check(lua.module("nn.VGG_postprocess", _type="torch.CudaTensor"), images, expected, tmp_path)
