"""Package dpnn: small layers, and those that draw samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..layer import Layer
from ..registry import converts


class ArgMax(nn.Module):
    """The 1-based index of the maximum along a dimension.

    Args:
        dim: 0-based, not counting a batch.
        input_dims: dimensions of one sample; where there are more, the first is a batch.
        as_long: are the indices whole numbers?
    """

    def __init__(self, dim: int, input_dims: int, as_long: bool = True) -> None:
        super().__init__()
        self.dim = dim
        self.input_dims = input_dims
        self.as_long = as_long

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dim = self.dim + 1 if x.dim() > self.input_dims else self.dim
        indices = x.argmax(dim, keepdim=x.dim() == 1) + 1
        return indices if self.as_long else indices.to(x.dtype)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, input_dims={self.input_dims}, as_long={self.as_long}"


@converts("nn.ArgMax")
def arg_max(layer: Layer) -> ArgMax:
    """nn.ArgMax([dim = 1], [nInputDim], [asLong = true])"""
    layer.ignore("_value", "_indices")
    return ArgMax(layer.integer("dim", 1) - 1, layer.integer("nInputDim", 9999), layer.flag("asLong", True))


class StraightThroughClip(torch.autograd.Function):
    """Clips on the way forward; passes every gradient on the way back."""

    @staticmethod
    def forward(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return x.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is needed."""

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient, None, None


class Clip(nn.Module):
    """Numbers between two bounds; the gradient passes also where they were beyond."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_exporting():
            return x.clamp(self.low, self.high)
        clipped: torch.Tensor = StraightThroughClip.apply(x, self.low, self.high)  # type: ignore[no-untyped-call]
        return clipped

    def extra_repr(self) -> str:
        return f"{self.low}, {self.high}"


@converts("nn.Clip")
def clip(layer: Layer) -> Clip:
    """nn.Clip(minval, maxval)

    The gradient passes also where the input is beyond the bounds.
    """
    layer.ignore("_mask", "_byte")
    return Clip(layer.number("minval"), layer.number("maxval"))


class FeatNorm(nn.Module):
    """Subtracts a mean from each plane and divides by a deviation; both are constants."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.planes = planes
        self.register_buffer("mean", torch.empty(planes))
        self.register_buffer("std", torch.empty(planes))
        self.mean: torch.Tensor
        self.std: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean.reshape(-1, 1, 1)) / self.std.reshape(-1, 1, 1)

    def extra_repr(self) -> str:
        return f"{self.planes}"


@converts("nn.SpatialFeatNormalization")
def spatial_feat_normalization(layer: Layer) -> FeatNorm:
    """nn.SpatialFeatNormalization(mean, [std])"""
    layer.ignore("noOfFeats")
    module = layer.make(FeatNorm, layer.tensor("mean").numel())
    layer.put(module, "mean", layer.tensor("mean").detach())
    layer.put(module, "std", layer.tensor("std").detach())
    return module
