"""Convolutions over sequences: (batch x) time x features, as Torch7 lays them out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from ...t7 import LuaObject

FRAME_WEIGHTS = Traits(reads="frames", picture="weights", zeros_by_chance=True)

#: No layer has larger windows, and so many lengths at most give the same output.
_LARGEST, _FEW = 2**31, 64


class TemporalConv1d(nn.Conv1d):
    """A convolution over time of (batch x) time x features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.transpose(-1, -2)).transpose(-1, -2)


def sizes_before_frames(obj: LuaObject, output: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The sizes (batch x) time x features from which windows of kW frames in steps of dW give `output`."""
    window, step, features = obj.get("kW"), obj.get("dW", 1.0), obj.get("inputFrameSize")
    if len(output) not in (2, 3) or not all(isinstance(n, float) and 1 <= n < _LARGEST for n in (window, step)):
        return
    inside = int(features) if isinstance(features, float) and 1 <= features < _LARGEST else output[-1]
    least = (output[-2] - 1) * int(step) + int(window)
    for length in range(least, min(least + int(step), least + _FEW)):
        yield (*output[:-2], length, inside)


def temporal(layer: Layer, kernel: int, stride: int, padding: int) -> TemporalConv1d:
    """The convolution of a layer that says `inputFrameSize` and `outputFrameSize`; each window is time x features."""
    inputs, outputs = layer.integer("inputFrameSize"), layer.integer("outputFrameSize")
    module = layer.make(TemporalConv1d, inputs, outputs, kernel, stride=stride, padding=padding, bias=layer.has("bias"))
    # Torch7 lays a window out as time x features
    weight = layer.tensor("weight").reshape(outputs, kernel, inputs).transpose(1, 2)
    layer.put(module, "weight", weight, field="weight")
    return layer.put_all(module, "bias")


@converts("nn.TemporalConvolution", traits=replace(FRAME_WEIGHTS, sizes_before=sizes_before_frames))
def temporal_convolution(layer: Layer) -> TemporalConv1d:
    """nn.TemporalConvolution(inputFrameSize, outputFrameSize, kW, [dW])"""
    return temporal(layer, layer.integer("kW"), layer.integer("dW", 1), 0)


@converts("cudnn.TemporalConvolution", traits=FRAME_WEIGHTS)
def cudnn_temporal_convolution(layer: Layer) -> TemporalConv1d:
    """cudnn.TemporalConvolution(inputFrameSize, outputFrameSize, kH, [dH], [padH])"""
    if layer.integer("groups", 1) != 1:
        layer.refuse("it has groups")
    # it is a spatial convolution inside, with the features along the width
    layer.ignore("kW", "dW", "padW", "nInputPlane", "nOutputPlane", "stride", "pad", "iSize", "convDescData")
    return temporal(layer, layer.integer("kH"), layer.integer("dH", 1), layer.integer("padH", 0))


class TemporalRowConv1d(nn.Conv1d):
    """A convolution over time of each feature by itself.

    Args:
        features: number of features.
        kernel_size: frames of a window.
        stride: frames between windows.
        bias: is there a bias?
        features_first: is the input (batch x) features x time, rather than time x features?
    """

    def __init__(
        self, features: int, kernel_size: int, stride: int = 1, bias: bool = True, features_first: bool = False
    ) -> None:
        super().__init__(features, features, kernel_size, stride=stride, groups=features, bias=bias)
        self.features = features
        self.features_first = features_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.features_first:
            return super().forward(x)
        return super().forward(x.transpose(-1, -2)).transpose(-1, -2)

    def extra_repr(self) -> str:
        kernel, stride = self.kernel_size[0], self.stride[0]
        return f"{self.features}, {kernel}, stride={stride}, features_first={self.features_first}"


@converts("nn.TemporalRowConvolution", traits=Traits(reads="frames", picture="weights"))
def temporal_row_convolution(layer: Layer) -> TemporalRowConv1d:
    """nn.TemporalRowConvolution(inputFrameSize, kW, [dW], [featFirst = false])"""
    features, kernel = layer.integer("inputFrameSize"), layer.integer("kW")
    module = layer.make(
        TemporalRowConv1d,
        features,
        kernel,
        layer.integer("dW", 1),
        bias=layer.has("bias"),
        features_first=layer.flag("featFirst", False),
    )
    layer.put(module, "weight", layer.tensor("weight").reshape(features, 1, kernel), field="weight")
    return layer.put_all(module, "bias")


class TemporalSubSampling(nn.Module):
    """Sums each feature over windows of time, times a weight plus a bias per feature."""

    def __init__(self, features: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.features = features
        self.kernel_size = kernel_size
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(features))
        self.bias = nn.Parameter(torch.empty(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel = self.weight.reshape(-1, 1, 1).expand(self.features, 1, self.kernel_size)
        y = nn.functional.conv1d(x.transpose(-1, -2), kernel, self.bias, self.stride, groups=self.features)
        return y.transpose(-1, -2)

    def extra_repr(self) -> str:
        return f"{self.features}, kernel_size={self.kernel_size}, stride={self.stride}"


@converts("nn.TemporalSubSampling", traits=Traits(reads="frames", picture="weights"))
def temporal_sub_sampling(layer: Layer) -> TemporalSubSampling:
    """nn.TemporalSubSampling(inputFrameSize, kW, [dW])"""
    module = layer.make(
        TemporalSubSampling, layer.integer("inputFrameSize"), layer.integer("kW"), layer.integer("dW", 1)
    )
    return layer.put_all(module, "weight", "bias")
