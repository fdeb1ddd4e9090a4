"""Pooling over sequences, (batch x) time x features, and over features."""

from __future__ import annotations

import math

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits


class TemporalMaxPool1d(nn.MaxPool1d):
    """Max pooling over time of (batch x) time x features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = super().forward(x.transpose(-1, -2))
        return y.transpose(-1, -2)


@converts("nn.TemporalMaxPooling", traits=Traits(reads="frames", picture="pooling"))
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


@converts("nn.TemporalDynamicKMaxPooling", traits=Traits(reads="frames", picture="pooling"))
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
