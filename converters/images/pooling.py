"""Pooling over images and volumes, over sequences of (batch x) time x features, and over features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from .convolutions import padding_of, sizes_before_windows, steps_of
from .convolutions_temporal import sizes_before_frames

IMAGE_POOLING = Traits(reads="images", picture="pooling")
IMAGE_WINDOWS = replace(IMAGE_POOLING, sizes_before=sizes_before_windows)
VOLUME_POOLING = Traits(reads="volumes", picture="pooling")

#: Fields that a forward leaves behind in pooling layers.
_LEFT = ("indices", "iheight", "iwidth", "itime", "iSize", "mode", "stride", "pad", "nInputPlane", "v2")


def _steps(layer: Layer, *axes: str) -> tuple[int, ...]:
    """dT, dH, dW; where one is missing, the size of the kernel."""
    return tuple(layer.integer(f"d{axis}", layer.integer(f"k{axis}")) for axis in axes)


class OverhangingMaxPool(nn.Module):
    """Max pooling in ceil mode with strides beyond the kernel, of which the last window may lie outside the input.

    Such a window gives the lowest number of the type, as in Torch7; PyTorch leaves it out.

    Args:
        kernel_size, stride, dilation: of each axis: (depth,) height, width.
    """

    def __init__(self, kernel_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> None:
        super().__init__()
        self.kernel_size = tuple(kernel_size)
        self.stride = tuple(stride)
        self.dilation = tuple(dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = len(self.kernel_size)
        padding: list[int] = []
        for axis in range(axes):
            reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            size = x.shape[axis - axes]
            outputs = -((reach - size) // self.stride[axis]) + 1
            padding = [0, max(0, (outputs - 1) * self.stride[axis] + reach - size), *padding]
        padded = F.pad(x, padding, value=torch.finfo(x.dtype).min)
        pool = F.max_pool2d if axes == 2 else F.max_pool3d
        return pool(padded, self.kernel_size, self.stride, dilation=self.dilation)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation}"


class OverhangingAvgPool(nn.Module):
    """Average pooling in ceil mode with strides beyond the kernel, of which the last window may lie outside the input.

    PyTorch leaves such a window out; Torch7 divides the sum 0 by what is left of its size, which may be negative.

    Args:
        kernel_size, stride: of each axis: (depth,) height, width.
    """

    def __init__(self, kernel_size: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        self.kernel_size = tuple(kernel_size)
        self.stride = tuple(stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = len(self.kernel_size)
        padding: list[int] = []
        count = x.new_ones(())
        for axis in range(axes):
            kernel, stride, size = self.kernel_size[axis], self.stride[axis], x.shape[axis - axes]
            outputs = -((kernel - size) // stride) + 1
            padding = [0, max(0, (outputs - 1) * stride + kernel - size), *padding]
            starts = torch.arange(outputs, device=x.device, dtype=x.dtype) * stride
            lengths = (starts + kernel).clamp(max=size) - starts
            count = count * lengths.reshape(-1, *[1] * (axes - 1 - axis))
        pool = F.avg_pool2d if axes == 2 else F.avg_pool3d
        # not divisor_override, which the exporter to ONNX overlooks
        return pool(F.pad(x, padding), self.kernel_size, self.stride) * math.prod(self.kernel_size) / count

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


def _max_pool(layer: Layer, axes: tuple[str, ...]) -> nn.Module:
    layer.ignore(*_LEFT)
    kernel, stride = steps_of(layer, "k", *axes), _steps(layer, *axes)
    padding, dilation = padding_of(layer, *axes), steps_of(layer, "dilation", *axes)
    # VolumetricDilatedMaxPooling rounds down whatever ceil_mode says
    ceil_mode = layer.flag("ceil_mode", False) and layer.typename != "nn.VolumetricDilatedMaxPooling"
    beyond = any(d > w * (k - 1) + 1 for k, d, w in zip(kernel, stride, dilation, strict=True))
    if ceil_mode and beyond and not any(padding):
        return OverhangingMaxPool(kernel, stride, dilation)
    cls: Any = nn.MaxPool2d if len(axes) == 2 else nn.MaxPool3d
    made: nn.Module = cls(kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    return made


@converts("nn.SpatialMaxPooling", "cudnn.SpatialMaxPooling", traits=IMAGE_WINDOWS)
def spatial_max_pooling(layer: Layer) -> nn.Module:
    """nn.SpatialMaxPooling(kW, kH, [dW = kW], [dH = kH], [padW = 0], [padH = 0])"""
    return _max_pool(layer, ("H", "W"))


@converts("nn.SpatialDilatedMaxPooling", traits=IMAGE_POOLING)
def spatial_dilated_max_pooling(layer: Layer) -> nn.Module:
    """nn.SpatialDilatedMaxPooling(kW, kH, [dW = kW], [dH = kH], [padW], [padH], [dilationW = 1], [dilationH = 1])"""
    return _max_pool(layer, ("H", "W"))


@converts("nn.VolumetricMaxPooling", "cudnn.VolumetricMaxPooling", traits=VOLUME_POOLING)
def volumetric_max_pooling(layer: Layer) -> nn.Module:
    """nn.VolumetricMaxPooling(kT, kW, kH, [dT = kT], [dW = kW], [dH = kH], [padT], [padW], [padH])"""
    return _max_pool(layer, ("T", "H", "W"))


@converts("nn.VolumetricDilatedMaxPooling", traits=VOLUME_POOLING)
def volumetric_dilated_max_pooling(layer: Layer) -> nn.Module:
    """nn.VolumetricDilatedMaxPooling(kT, kW, kH, [dT, W, H], [padT, W, H], [dilationT, W, H])

    Torch7 rounds the size of the output down, also after ceil().
    """
    return _max_pool(layer, ("T", "H", "W"))


class ScaledAvgPool(nn.Module):
    """Average pooling, its result times `factor` (the size of a window, for a sum).

    Args:
        pool: the average pooling.
        factor: what its result is multiplied by.
    """

    def __init__(self, pool: nn.Module, factor: float) -> None:
        super().__init__()
        self.pool = pool
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.pool(x) * self.factor
        return y

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


def _average_pool(layer: Layer, axes: tuple[str, ...]) -> nn.Module:
    kernel, stride, padding = steps_of(layer, "k", *axes), _steps(layer, *axes), padding_of(layer, *axes)
    ceil_mode = layer.flag("ceil_mode", False)
    exclude = layer.has("mode") and "EXCLUDE" in layer.text("mode")
    include = layer.flag("count_include_pad", not exclude)
    layer.ignore(*_LEFT)
    pool: nn.Module
    if ceil_mode and not any(padding) and any(d > k for k, d in zip(kernel, stride, strict=True)):
        pool = OverhangingAvgPool(kernel, stride)
    else:
        cls: Any = nn.AvgPool2d if len(axes) == 2 else nn.AvgPool3d
        pool = cls(kernel, stride, padding, ceil_mode=ceil_mode, count_include_pad=include)
    # the first versions summed, and have no such field; nor has VolumetricAveragePooling, which always divides
    if layer.flag("divide", len(axes) == 3 or layer.typename.startswith("cudnn.")):
        return pool
    return ScaledAvgPool(pool, float(math.prod(kernel)))


@converts("nn.SpatialAveragePooling", "cudnn.SpatialAveragePooling", traits=IMAGE_WINDOWS)
def spatial_average_pooling(layer: Layer) -> nn.Module:
    """nn.SpatialAveragePooling(kW, kH, [dW = 1], [dH = 1], [padW = 0], [padH = 0])

    With divide = false, or in files that know no `divide`, the average is multiplied by kW * kH again.
    """
    return _average_pool(layer, ("H", "W"))


@converts("nn.VolumetricAveragePooling", "cudnn.VolumetricAveragePooling", traits=VOLUME_POOLING)
def volumetric_average_pooling(layer: Layer) -> nn.Module:
    """nn.VolumetricAveragePooling(kT, kW, kH, [dT = 1], [dW = 1], [dH = 1], [padT], [padW], [padH])"""
    return _average_pool(layer, ("T", "H", "W"))


class AdaptiveMaxPool2d(nn.AdaptiveMaxPool2d):
    """Adaptive max pooling; exported window by window, since ONNX has no such operator."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_exporting():
            y: torch.Tensor = super().forward(x)
            return y
        size: Any = self.output_size
        (rows, columns), (height, width) = size, x.shape[-2:]
        lines = []
        for i in range(rows):
            strip = x[..., i * height // rows : ((i + 1) * height + rows - 1) // rows, :]
            cells = [
                strip[..., j * width // columns : ((j + 1) * width + columns - 1) // columns] for j in range(columns)
            ]
            lines.append(torch.stack([cell.amax((-2, -1)) for cell in cells], -1))
        return torch.stack(lines, -2)


@module_form("typed", AdaptiveMaxPool2d)
def _of_torch(module: AdaptiveMaxPool2d, taken: str) -> nn.AdaptiveMaxPool2d:
    return nn.AdaptiveMaxPool2d(module.output_size)


@converts("nn.SpatialAdaptiveMaxPooling", traits=IMAGE_POOLING)
def spatial_adaptive_max_pooling(layer: Layer) -> AdaptiveMaxPool2d:
    """nn.SpatialAdaptiveMaxPooling(W, H)"""
    layer.ignore("indices")
    return AdaptiveMaxPool2d((layer.integer("H"), layer.integer("W")))


class AverageToAbout(nn.Module):
    """Averages over windows that lie side by side, as large as fit `height` and `width` times into the image.

    What is left over at the right and at the bottom gives more windows, or none if it is smaller than one.

    Args:
        height: how many windows fit, at least, one below the other.
        width: how many fit side by side.
        kernel: a size of windows (height, width) for which there is another step.
        stride: that step.
    """

    def __init__(self, height: int, width: int, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.height = height
        self.width = width
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        windows = x.shape[2] // self.height, x.shape[3] // self.width
        return F.avg_pool2d(x, windows, self.stride if windows == self.kernel else windows)

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}, kernel={self.kernel}, stride={self.stride}"


@converts("nn.SpatialAdaptiveAveragePooling", traits=IMAGE_POOLING)
def spatial_adaptive_average_pooling(layer: Layer) -> nn.Module:
    """nn.SpatialAdaptiveAveragePooling(W, H)

    eladhoffer/convNet.torch has another class of that name, told by its field kW: its windows lie side by side. As in
    Torch7 windows of the size that the file holds have the step that it holds, which is 1 before the first run.
    """
    if layer.has("kW"):
        layer.ignore("padW", "padH", "ceil_mode", "count_include_pad", "divide")
        kernel, stride = [(layer.integer(f"{name}H"), layer.integer(f"{name}W")) for name in "kd"]
        return AverageToAbout(layer.integer("H"), layer.integer("W"), kernel, stride)
    return nn.AdaptiveAvgPool2d((layer.integer("H"), layer.integer("W")))


class TemporalMaxPool1d(nn.MaxPool1d):
    """Max pooling over time of (batch x) time x features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = super().forward(x.transpose(-1, -2))
        return y.transpose(-1, -2)


@converts("nn.TemporalMaxPooling", traits=Traits(reads="frames", picture="pooling", sizes_before=sizes_before_frames))
def temporal_max_pooling(layer: Layer) -> TemporalMaxPool1d:
    """nn.TemporalMaxPooling(kW, [dW = kW])"""
    layer.ignore("indices")
    kernel = layer.integer("kW")
    return TemporalMaxPool1d(kernel, layer.integer("dW", kernel))


class DynamicKMaxPool(nn.Module):
    """The k largest numbers of each feature over time, in their order; k = max(min_k, ceil(factor * frames)).

    Args:
        min_k: the smallest k.
        factor: of the number of frames.
    """

    def __init__(self, min_k: int, factor: float = 0.0) -> None:
        super().__init__()
        self.min_k = min_k
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = x.shape[-2]
        if frames < self.min_k:
            raise ValueError(f"{frames} frames are fewer than min_k = {self.min_k}")
        k = max(self.min_k, math.ceil(self.factor * frames)) if self.factor else self.min_k
        indices = x.topk(k, dim=-2).indices.sort(dim=-2).values
        return x.gather(-2, indices)

    def extra_repr(self) -> str:
        return f"min_k={self.min_k}, factor={self.factor}"


@converts("nn.TemporalDynamicKMaxPooling", traits=Traits(reuses="nothing", reads="frames", picture="pooling"))
def temporal_dynamic_k_max_pooling(layer: Layer) -> DynamicKMaxPool:
    """nn.TemporalDynamicKMaxPooling(minK, [factor = 0])"""
    layer.ignore("indices")
    return DynamicKMaxPool(layer.integer("minK"), layer.number("factor", 0.0))


@converts("nn.SpatialLPPooling", traits=Traits(reads="images", picture="pooling"))
def spatial_lp_pooling(layer: Layer) -> nn.Sequential:
    """nn.SpatialLPPooling(nInputPlane, pnorm, kW, kH, [dW], [dH])

    A sequence of powers and sums in Torch7, and here.
    """
    layer.ignore("kW", "kH", "dW", "dH")
    return nn.Sequential(*layer.modules())


class FeatureLPPool(nn.Module):
    """The p-norm of windows over features: of dimension 1 in a batch, else 0.

    Args:
        width: features of a window.
        stride: features between windows.
        power: p.
        batch_mode: is dimension 0 a batch?
    """

    def __init__(self, width: int, stride: int, power: float, batch_mode: bool = False) -> None:
        super().__init__()
        self.width = width
        self.stride = stride
        self.power = power
        self.batch_mode = batch_mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        windows = x.unfold(1 if self.batch_mode else 0, self.width, self.stride)
        sums = windows.pow(self.power).sum(-1)
        # the root has no finite slope at 0, where Torch7's gradient is 0
        empty = sums == 0
        return sums.masked_fill(empty, 1).pow(1 / self.power).masked_fill(empty, 0)

    def extra_repr(self) -> str:
        return f"width={self.width}, stride={self.stride}, power={self.power}, batch_mode={self.batch_mode}"


@converts("nn.FeatureLPPooling", traits=Traits(picture="pooling"))
def feature_lp_pooling(layer: Layer) -> FeatureLPPool:
    """nn.FeatureLPPooling(width, stride, power, [batch_mode = false])"""
    return FeatureLPPool(
        layer.integer("width"), layer.integer("stride"), layer.number("power"), layer.flag("batch_mode", False)
    )
