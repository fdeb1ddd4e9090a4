"""Convolutions over images and volumes, and their transposes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...t7 import LuaObject


def sizes_before_windows(obj: LuaObject, output: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The sizes (N, C, H, W) from which windows of kH x kW in steps of dH, dW give `output`, the likeliest first."""
    if len(output) != 4:
        return
    planes = obj.get("nInputPlane")
    ranges = []
    for extent, axis in zip(output[2:], "HW", strict=True):
        window, step = obj.get(f"k{axis}"), obj.get(f"d{axis}", 1.0)
        padding = obj.get(f"pad{axis}", obj.get("padding", 0.0))
        if not all(isinstance(number, float) for number in (window, step, padding)) or step < 1:
            return
        least = (extent - 1) * int(step) + int(window) - 2 * int(padding)
        fitting = range(max(1, least), least + int(step))
        # windows without padding are mostly made to fit; with padding, images are mostly of round sizes
        ranges.append(sorted(fitting, key=_roundness if padding > 0 else None))
    for height, width in product(*ranges):
        yield (output[0], int(planes) if isinstance(planes, float) else output[1], height, width)


def _roundness(size: int) -> tuple[int, int]:
    return -(size & -size), size


IMAGE_WEIGHTS = Traits(reads="images", picture="weights", zeros_by_chance=True)
IMAGE_WINDOWS = replace(IMAGE_WEIGHTS, sizes_before=sizes_before_windows)
ENLARGED_IMAGES = replace(IMAGE_WEIGHTS, enlarges=True)
VOLUME_WEIGHTS = Traits(reads="volumes", picture="weights", zeros_by_chance=True)
ENLARGED_VOLUMES = replace(VOLUME_WEIGHTS, enlarges=True)


def padding_of(layer: Layer, *axes: str) -> tuple[int, ...]:
    """padT, padH, padW for the given axes; very old files have one `padding` for all."""
    if layer.has("padding"):
        layer.ignore(*(f"pad{axis}" for axis in axes))
        return (layer.integer("padding"),) * len(axes)
    return tuple(layer.integer(f"pad{axis}", 0) for axis in axes)


def steps_of(layer: Layer, name: str, *axes: str) -> tuple[int, ...]:
    """The whole numbers of the fields name + axis, such as kH, kW or dH, dW; 1 where they are missing."""
    return tuple(layer.integer(f"{name}{axis}", 1) for axis in axes)


def ignore_cudnn(layer: Layer) -> None:
    """Fields of cudnn's convolutions that repeat what others say."""
    layer.ignore("stride", "pad", "iSize", "convDescData", "nInputPlane", "nOutputPlane")


def make_convolution(
    layer: Layer, cls: type[nn.Module], axes: tuple[str, ...], *, transposed: bool = False, **options: Any
) -> nn.Module:
    """A convolution, stock or of the arguments of a stock one; old files keep the weight as a matrix."""
    kernel = steps_of(layer, "k", *axes)
    groups = layer.integer("groups", 1)
    inputs, outputs = layer.integer("nInputPlane"), layer.integer("nOutputPlane")
    ignore_cudnn(layer)
    if transposed:
        options["output_padding"] = tuple(layer.integer(f"adj{axis}", 0) for axis in axes)
    module = layer.make(
        cls,
        inputs,
        outputs,
        kernel,
        stride=steps_of(layer, "d", *axes),
        padding=padding_of(layer, *axes),
        groups=groups,
        bias=layer.has("bias"),
        **options,
    )
    first, second = (inputs, outputs) if transposed else (outputs, inputs)
    layer.put(module, "weight", layer.tensor("weight").reshape(first, second // groups, *kernel))
    return layer.put_all(module, "bias")


@converts(
    "nn.SpatialConvolution",
    "nn.SpatialConvolutionMM",
    "cudnn.SpatialConvolution",
    "nn.SpatialConvolutionNoBias",
    traits=replace(IMAGE_WINDOWS, safe_on_own_output=True),
)
def spatial_convolution(layer: Layer) -> nn.Module:
    """nn.SpatialConvolution(nInputPlane, nOutputPlane, kW, kH, [dW], [dH], [padW], [padH])"""
    return make_convolution(layer, nn.Conv2d, ("H", "W"))


@converts("nn.SpatialDilatedConvolution", "cudnn.SpatialDilatedConvolution", traits=IMAGE_WEIGHTS)
def spatial_dilated_convolution(layer: Layer) -> nn.Module:
    """nn.SpatialDilatedConvolution(nInputPlane, nOutputPlane, kW, kH, [dW], [dH], [padW], [padH], [dilationW, H])"""
    return make_convolution(layer, nn.Conv2d, ("H", "W"), dilation=steps_of(layer, "dilation", "H", "W"))


@converts(
    "nn.VolumetricConvolution", "nn.VolumetricConvolutionMM", "cudnn.VolumetricConvolution", traits=VOLUME_WEIGHTS
)
def volumetric_convolution(layer: Layer) -> nn.Module:
    """nn.VolumetricConvolution(nInputPlane, nOutputPlane, kT, kW, kH, [dT], [dW], [dH], [padT], [padW], [padH])"""
    return make_convolution(layer, nn.Conv3d, ("T", "H", "W"))


@converts("nn.VolumetricDilatedConvolution", traits=VOLUME_WEIGHTS)
def volumetric_dilated_convolution(layer: Layer) -> nn.Module:
    """nn.VolumetricDilatedConvolution(nInputPlane, nOutputPlane, kT, kW, kH, [dT], [padT], [dilationT], …)"""
    return make_convolution(layer, nn.Conv3d, ("T", "H", "W"), dilation=steps_of(layer, "dilation", "T", "H", "W"))


class FullConvolution2d(nn.ConvTranspose2d):
    """A transposed convolution; given [x, y] it makes an output of y's height and width."""

    def forward(self, x: Any) -> torch.Tensor:  # type: ignore[override]
        if isinstance(x, torch.Tensor):
            return super().forward(x)
        return super().forward(x[0], list(x[1].shape[-2:]))


class FullConvolution3d(nn.ConvTranspose3d):
    """A transposed convolution; given [x, y] it makes an output of y's depth, height and width."""

    def forward(self, x: Any) -> torch.Tensor:  # type: ignore[override]
        if isinstance(x, torch.Tensor):
            return super().forward(x)
        return super().forward(x[0], list(x[1].shape[-3:]))


@converts("nn.SpatialFullConvolution", "cudnn.SpatialFullConvolution", traits=ENLARGED_IMAGES)
def spatial_full_convolution(layer: Layer) -> nn.Module:
    """nn.SpatialFullConvolution(nInputPlane, nOutputPlane, kW, kH, [dW], [dH], [padW], [padH], [adjW], [adjH])

    The input may be {tensor, target}: the output then has target's height and width.
    """
    return make_convolution(layer, FullConvolution2d, ("H", "W"), transposed=True)


@converts("nn.VolumetricFullConvolution", "cudnn.VolumetricFullConvolution", traits=ENLARGED_VOLUMES)
def volumetric_full_convolution(layer: Layer) -> nn.Module:
    """nn.VolumetricFullConvolution(nInputPlane, nOutputPlane, kT, kW, kH, [dT, W, H], [padT, W, H], [adjT, W, H])

    The input may be {tensor, target}: the output then has target's depth, height and width.
    """
    return make_convolution(layer, FullConvolution3d, ("T", "H", "W"), transposed=True)


@converts("nn.SpatialDepthWiseConvolution", traits=replace(IMAGE_WEIGHTS, safe_on_own_output=True))
def spatial_depthwise_convolution(layer: Layer) -> nn.Conv2d:
    """nn.SpatialDepthWiseConvolution(nInputPlane, nOutputPlane, kW, kH, [dW], [dH], [padW], [padH])

    nOutputPlane maps of each input plane.
    """
    planes, maps = layer.integer("nInputPlane"), layer.integer("nOutputPlane")
    kernel = (layer.integer("kH"), layer.integer("kW"))
    pad_height, pad_width = padding_of(layer, "H", "W")
    module = layer.make(
        nn.Conv2d,
        planes,
        planes * maps,
        kernel,
        stride=(layer.integer("dH", 1), layer.integer("dW", 1)),
        padding=(pad_height, pad_width),
        groups=planes,
        bias=layer.has("bias"),
    )
    weight = layer.tensor("weight").reshape(maps, planes, 1, *kernel).transpose(0, 1)
    layer.put(module, "weight", weight.reshape(planes * maps, 1, *kernel), field="weight")
    if layer.has("bias"):
        layer.put(module, "bias", layer.tensor("bias").reshape(maps, planes).t().reshape(-1), field="bias")
    return module


class LocalConv2d(nn.Module):
    """A convolution with a kernel of its own at each place of the output."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        output_size: tuple[int, int],
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.output_size = output_size
        places = output_size[0] * output_size[1]
        self.weight = nn.Parameter(torch.empty(places, out_channels, in_channels * kernel_size[0] * kernel_size[1]))
        self.bias = nn.Parameter(torch.empty(out_channels, *output_size)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x if x.dim() == 4 else x.unsqueeze(0)
        patches = F.unfold(batch, self.kernel_size, padding=self.padding, stride=self.stride)
        # places x out x in*kH*kW, times places x in*kH*kW x batch
        y = torch.matmul(self.weight, patches.permute(2, 1, 0)).permute(2, 1, 0)
        y = y.reshape(-1, self.out_channels, self.output_size[0], self.output_size[1])
        if self.bias is not None:
            y = y + self.bias
        return y if x.dim() == 4 else y.squeeze(0)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, output_size={self.output_size}"
        )


@converts("nn.SpatialConvolutionLocal", traits=IMAGE_WINDOWS)
def spatial_convolution_local(layer: Layer) -> LocalConv2d:
    """nn.SpatialConvolutionLocal(nInputPlane, nOutputPlane, iW, iH, kW, kH, [dW], [dH], [padW], [padH])

    The input has a fixed size, iW x iH.
    """
    layer.ignore("iW", "iH")
    size = (layer.integer("oH"), layer.integer("oW"))
    inputs, outputs = layer.integer("nInputPlane"), layer.integer("nOutputPlane")
    kernel = steps_of(layer, "k", "H", "W")
    module = layer.make(
        LocalConv2d,
        inputs,
        outputs,
        (kernel[0], kernel[1]),
        (layer.integer("dH", 1), layer.integer("dW", 1)),
        (layer.integer("padH", 0), layer.integer("padW", 0)),
        size,
        bias=layer.has("bias"),
    )
    layer.put(module, "weight", layer.tensor("weight").reshape(size[0] * size[1], outputs, -1), field="weight")
    if layer.has("bias"):
        layer.put(module, "bias", layer.tensor("bias").reshape(outputs, *size), field="bias")
    return module


@module_form("typed", FullConvolution2d, FullConvolution3d)
def _of_tensor(module: FullConvolution2d | FullConvolution3d, taken: str) -> nn.Module | None:
    """That of torch.nn, with the same weights, where no size is given."""
    return _with_size_given(module) if taken == "Tensor" else None


@module_form("sized", FullConvolution2d, FullConvolution3d)
def _with_size_given(module: FullConvolution2d | FullConvolution3d) -> nn.Module:
    """That of torch.nn, with the same weights, which takes the size of its output beside its input."""
    stock: Any = copy.copy(module)
    stock.__class__ = nn.ConvTranspose2d if isinstance(module, FullConvolution2d) else nn.ConvTranspose3d
    found: nn.Module = stock
    return found
