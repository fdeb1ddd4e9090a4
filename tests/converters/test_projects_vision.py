"""Layers of DenseNet, DeepMask, nnx, cifar.torch, multipathnet and Atari, compared with their definitions."""

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


def affine(made: Any, x: Any) -> Any:
    return x @ made["weight"].numpy().T + made["bias"].numpy()


def test_custom_linear(tmp_path: Path) -> None:
    made, x = lua.linear(4, 3), lua.numbers(2, 4)
    made.typename = "nn.CustomLinear"
    checks.check(made, x, affine(made, x), tmp_path)


def convolution(inputs: int, outputs: int, seed: int) -> tm.LuaObject:
    weight, bias = lua.numbers(outputs, inputs, 1, 1, seed=seed), lua.numbers(outputs, seed=seed + 1)
    sizes = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": 1, "kH": 1, "dW": 1, "dH": 1, "padW": 0, "padH": 0}
    return lua.module("nn.SpatialConvolution", weight=weight, bias=bias, **sizes)


def convolved(made: Any, x: Any) -> Any:
    weight = made["weight"].numpy()[:, :, 0, 0]
    return np.einsum("oi,nihw->nohw", weight, x) + made["bias"].numpy()[:, None, None]


def test_dense_connect_layer(tmp_path: Path) -> None:
    def dense(inputs: int, seed: int) -> tm.LuaObject:
        first, second = lua.module("nn.Tanh"), lua.sequential(convolution(inputs, 2, seed))
        nets = {"net1": first, "net2": second, "modules": [first, second]}
        return lua.module("nn.DenseConnectLayerCustom", opt={"growthRate": 2}, input_c=np.zeros(0), **nets)

    made = lua.sequential(dense(3, 3), dense(5, 5))
    new = convolved(convolution(3, 2, 3), np.tanh(IMAGES))
    newer = convolved(convolution(5, 2, 5), np.tanh(np.concatenate([IMAGES, new], 1)))
    checks.check(made, IMAGES, [IMAGES, new, newer], tmp_path)


def test_symmetric_padding(tmp_path: Path) -> None:
    made = lua.module("nn.SpatialSymmetricPadding", pad_l=2, pad_r=1, pad_t=3, pad_b=0)
    expected = np.pad(IMAGES, ((0, 0), (0, 0), (3, 0), (2, 1)), mode="symmetric")
    module = checks.check(made, IMAGES, expected, tmp_path)
    grad = lua.numbers(2, 3, 7, 8, seed=3)
    np.testing.assert_array_equal(checks.gradient(module, IMAGES, grad).numpy(), grad[:, :, 3:, 2:-1])
    with pytest.raises(ValueError, match="too small"):
        module(torch.ones(1, 1, 2, 5))


def test_symmetric_padding_that_crops(tmp_path: Path) -> None:
    made = lua.module("nn.SpatialSymmetricPadding", pad_l=-1, pad_r=2, pad_t=1, pad_b=-2)
    expected = np.pad(IMAGES[:, :, :-2, 1:], ((0, 0), (0, 0), (1, 0), (0, 2)), mode="symmetric")
    checks.check(made, IMAGES, expected, tmp_path)


def test_const_diagonal(tmp_path: Path) -> None:
    a, b = lua.numbers(3), lua.numbers(3, seed=1)
    made = lua.module("nn.SpatialConstDiagonal", a=a, b=b, inplace=True)
    checks.check(made, IMAGES, IMAGES * a[:, None, None] + b[:, None, None], tmp_path)


def test_deep_mask(tmp_path: Path) -> None:
    trunk, mask, score = lua.linear(4, 5, seed=1), lua.linear(5, 6, seed=3), lua.linear(5, 1, seed=5)
    made = lua.module("nn.DeepMask", trunk=trunk, maskBranch=mask, scoreBranch=score, fSz=10)
    x = lua.numbers(2, 4)
    features = affine(trunk, x)
    checks.check(made, x, [affine(mask, features), affine(score, features)], tmp_path)


def sharp_mask(*trunk: tm.LuaObject) -> tm.LuaObject:
    def refinement() -> tm.LuaObject:
        sides = lua.module("nn.ParallelTable", modules=[lua.module("nn.Sigmoid"), lua.module("nn.Identity")])
        return lua.sequential(sides, lua.module("nn.CAddTable"), lua.module("nn.Tanh"))

    refs = {0: lua.module("nn.MulConstant", constant_scalar=3), 1: refinement(), 2: refinement()}
    branches = {"scoreBranch": lua.module("nn.Tanh"), "maskBranchDM": lua.module("nn.Identity")}
    return lua.module("nn.SharpMask", trunk=lua.sequential(*trunk), skpos=[3, 1], refs=refs, km=32, ks=32, **branches)


def test_sharp_mask(tmp_path: Path) -> None:
    parts = [lua.module("nn.MulConstant", constant_scalar=c) for c in (2, 0.5, 1.5, 0.25)]
    made = sharp_mask(*parts)
    expected = np.tanh(1 / (1 + np.exp(-1.5 * IMAGES)) + 3 * 0.375 * IMAGES)
    expected = np.tanh(1 / (1 + np.exp(-2 * IMAGES)) + expected)
    module = checks.check(made, IMAGES, expected, tmp_path)
    np.testing.assert_allclose(module.score_branch(torch.from_numpy(IMAGES)).numpy(), np.tanh(IMAGES))


def test_sharp_mask_whose_features_are_overwritten_is_refused() -> None:
    scale, relu = lua.module("nn.MulConstant", constant_scalar=2), lua.module("nn.ReLU", inplace=True)
    assert "is not kept" in checks.refused(sharp_mask(scale, lua.sequential(relu), scale))


def test_batch_flip(tmp_path: Path) -> None:
    images = lua.numbers(7, 3, 4, 5)
    module = checks.check(lua.module("nn.BatchFlip", train=True), images, images, tmp_path)
    got = module.train()(torch.from_numpy(images)).numpy()
    flipped = [i for i in range(7) if np.array_equal(got[i], images[i, :, :, ::-1])]
    assert len(flipped) == 3
    kept = [i for i in range(7) if i not in flipped]
    np.testing.assert_array_equal(got[kept], images[kept])


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_spatial_normalization_of_nnx(threshold: float | None, tmp_path: Path) -> None:
    """Here each pixel counts with the one on its right."""
    image, kernel = lua.numbers(3, 4, 5, seed=6), np.array([0.25, 0.75])

    def summed(x: Any) -> Any:
        padded = np.pad(x, ((0, 0), (0, 0), (0, 1)))
        return np.repeat((kernel[0] * x + kernel[1] * padded[:, :, 1:]).sum(0, keepdims=True), 3, 0)

    def sums() -> tm.LuaObject:
        table = np.array([[1.0, 1], [2, 2], [3, 3]])
        sizes = {"nInputPlane": 3, "nOutputPlane": 3, "kW": 2, "kH": 1, "dW": 1, "dH": 1}
        weight = np.tile(kernel.reshape(1, 1, 2), (3, 1, 1))
        return lua.sequential(
            lua.module("nn.SpatialZeroPadding", pad_l=0, pad_r=1, pad_t=0, pad_b=0),
            lua.module("nn.SpatialConvolutionMap", weight=weight, bias=np.zeros(3), connTable=table, **sizes),
            lua.module("nn.Sum", dimension=1),
            lua.module("nn.Replicate", nfeatures=3, dim=1),
        )

    made = lua.module("nn.SpatialNormalization", convo=sums(), convostd=sums(), fixedThres=threshold, nfeatures=3)
    weight = summed(np.ones_like(image))
    centred = image - summed(image) / weight
    deviation = np.sqrt(summed(centred**2)) / weight
    least = max(deviation.mean(), 1e-3) if threshold is None else threshold
    checks.check(made, image, centred / np.maximum(deviation, least), tmp_path, onnx=False)


# multipathnet

BOXES = np.array([[1, 10, 20, 50, 44], [2, 3, 4, 5, 10], [1, 0, 0, 7, 3.5]])
MEAN, STD = np.array([0.1, 0.2, 0.3, 0.4]), np.array([2.0, 3, 4, 5])


@pytest.mark.parametrize("field", ["modules", "inner"])
def test_no_backprop(field: str, tmp_path: Path) -> None:
    tanh = lua.module("nn.Tanh")
    made = lua.module("nn.NoBackprop", **{field: [tanh] if field == "modules" else tanh})
    module = checks.check(made, IMAGES, np.tanh(IMAGES), tmp_path)
    assert not module(torch.from_numpy(IMAGES).requires_grad_()).requires_grad


def test_bbox_norm(tmp_path: Path) -> None:
    x = lua.numbers(3, 8)
    expected = (x.reshape(-1, 4) * STD + MEAN).reshape(3, 8)
    module = checks.check(lua.module("nn.BBoxNorm", mean=MEAN[None], std=STD[None]), x, expected, tmp_path)
    np.testing.assert_array_equal(module.train()(torch.from_numpy(x)).numpy(), x)


def test_select_boxes(tmp_path: Path) -> None:
    scores, boxes = lua.numbers(3, 5), lua.numbers(3, 20, seed=1)
    chosen = np.stack([boxes[i, 4 * k : 4 * k + 4] for i, k in enumerate(scores.argmax(1))])
    checks.check(lua.module("nn.SelectBoxes"), [scores, boxes], chosen, tmp_path)
    made = lua.module("nn.SelectBoxes", mean=MEAN, std=STD)
    checks.check(made, [scores, boxes], chosen * STD + MEAN, tmp_path / "normalized")


def test_context_region(tmp_path: Path) -> None:
    a, b = (1 + 1.5) / 2, (1 - 1.5) / 2
    transform = np.array([[a, 0, b, 0], [0, a, 0, b], [b, 0, a, 0], [0, b, 0, a]])
    centre, size = (BOXES[:, 1:3] + BOXES[:, 3:]) / 2, BOXES[:, 3:] - BOXES[:, 1:3]
    expected = np.concatenate([BOXES[:, :1], centre - 0.75 * size, centre + 0.75 * size], 1)
    checks.check(lua.module("nn.ContextRegion", tr=transform), BOXES, expected, tmp_path)


def test_foveal(tmp_path: Path) -> None:
    expected = []
    for image, x, y, x2, y2 in BOXES:
        w, h = x2 - x, y2 - y
        expected.append([image, x, y, x2, y2])
        for before, whole in ((0.25, 1.5), (0.5, 2), (1.5, 4)):
            left, top = x - before * w, y - before * h
            expected.append([image, left, top, left + whole * w, top + whole * h])
    checks.check(lua.module("nn.Foveal"), BOXES, np.array(expected), tmp_path)


def test_convert_from(tmp_path: Path) -> None:
    moves = lua.numbers(3, 4) / 4
    expected = []
    for (image, x, y, x2, y2), (dx, dy, dw, dh) in zip(BOXES, moves, strict=True):
        w, h = x2 - x, y2 - y
        cx, cy = (x + x2) / 2 + dx * w, (y + y2) / 2 + dy * h
        w, h = w * np.exp(dw), h * np.exp(dh)
        expected.append([image, cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
    made = lua.module("nn.ConvertFrom", gradInput1=np.zeros(0), gradInput2=np.zeros(0))
    checks.check(made, [BOXES, moves], np.array(expected), tmp_path)


def test_mode_switch(tmp_path: Path) -> None:
    made = lua.module("nn.ModeSwitch", modules=[lua.module("nn.Tanh"), lua.module("nn.Abs")], train=True)
    module = checks.check(made, IMAGES, np.abs(IMAGES), tmp_path)
    np.testing.assert_allclose(module.train()(torch.from_numpy(IMAGES)).numpy(), np.tanh(IMAGES))


def test_sequential_split_batch(tmp_path: Path) -> None:
    linear, x = lua.linear(4, 3), lua.numbers(5, 4)
    made = lua.module("nn.SequentialSplitBatch", modules=[linear, lua.module("nn.Tanh")], batch_size=2)
    checks.check(made, x, np.tanh(affine(linear, x)), tmp_path)


def test_image_transformer(tmp_path: Path) -> None:
    image, mean, std = IMAGES[0].astype("f4"), [102.9, 115.9, 122.7], [2.0, 4, 8]
    shaped = [np.array(numbers, "f4")[:, None, None] for numbers in (mean, std)]
    made = lua.module("fbcoco.ImageTransformer", mean=mean, scale=255, swap=[3, 2, 1])
    checks.check(made, image, image[::-1] * 255 - shaped[0], tmp_path, onnx=False)
    made = lua.module("fbcoco.ImageTransformer", mean=mean, std=std, scale=1)
    checks.check(made, image, (image - shaped[0]) / shaped[1], tmp_path / "std", onnx=False)


# Atari


def test_gradient_rescale(tmp_path: Path) -> None:
    made = lua.module("nn.GradientRescale", scaleFactor=0.5, inplace=True)
    module = checks.check(made, IMAGES, IMAGES, tmp_path)
    np.testing.assert_allclose(checks.gradient(module, IMAGES, IMAGES).numpy(), 0.5 * IMAGES)


@pytest.mark.parametrize(("typename", "flag"), [("nn.GuidedReLU", "guide"), ("nn.DeconvnetReLU", "deconv")])
def test_salient_relu(typename: str, flag: str, tmp_path: Path) -> None:
    fields = {"threshold": 0, "val": 0, "inplace": False}
    for salient in (False, True):
        made = lua.module(typename, **fields, **{flag: salient})
        checks.check(made, IMAGES, np.maximum(IMAGES, 0), tmp_path / str(salient))


def test_min_dim(tmp_path: Path) -> None:
    made = lua.module("nn.MinDim", pos=1, numInputDims=4)
    module = checks.check(made, IMAGES, IMAGES, tmp_path)
    assert module(torch.from_numpy(IMAGES[0])).shape == (1, 3, 4, 5)


def test_huber_criterion() -> None:
    x, target = lua.numbers(3, 4), lua.numbers(3, 4, seed=1)
    error = np.abs(x - target)
    losses = np.where(error < 0.75, error**2 / 2, 0.75 * (error - 0.375))
    checks.check_loss(lua.module("nn.HuberCriterion", delta=0.75), x, target, losses.mean())


# bnn.torch


def test_packed_convolution(tmp_path: Path) -> None:
    signs, alphas = np.sign(lua.numbers(3, 32, 3, 1, seed=5)), np.abs(lua.numbers(3, 1, 1, 1))
    bits = (signs > 0).reshape(3, -1, 32).astype(np.int64) << np.arange(32)
    sizes = {"nInputPlane": 32, "nOutputPlane": 3, "kW": 1, "kH": 3, "dW": 1, "dH": 2, "padW": 0, "padH": 1}
    made = lua.module("bnn.SpatialConvolution", weight=bits.sum(2).astype(np.int32), alphas=alphas, **sizes)
    x = lua.numbers(2, 32, 5, 4, seed=6)
    padded = np.pad(np.where(x > 0, 1.0, -1.0), ((0, 0), (0, 0), (1, 1), (0, 0)), constant_values=-1)
    rows = [np.einsum("nchw,ochx->now", padded[:, :, i : i + 3], signs) for i in (0, 2, 4)]
    checks.check(made, x, np.stack(rows, 2) * alphas.reshape(-1, 1, 1), tmp_path)


def test_a_convolution_that_was_never_packed_is_refused() -> None:
    sizes = {"nInputPlane": 1, "nOutputPlane": 1, "kW": 1, "kH": 1, "dW": 1, "dH": 1, "padW": 0, "padH": 0}
    made = lua.module("bnn.SpatialConvolution", weight=np.zeros((1, 1)), alphas=np.ones(1), **sizes)
    assert "never made binary" in checks.refused(made)
