"""Package inn."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ..layer import Layer
from ..registry import converts
from .normalization import LRN
from .pooling import spatial_average_pooling, spatial_max_pooling


@converts("inn.SpatialMaxPooling")
def max_pooling(layer: Layer) -> nn.Module:
    """inn.SpatialMaxPooling(kW, kH, [dW], [dH])

    Its output size is rounded up.
    """
    return spatial_max_pooling(layer)


@converts("inn.SpatialAveragePooling")
def average_pooling(layer: Layer) -> nn.Module:
    """inn.SpatialAveragePooling(kW, kH, [dW], [dH])

    Its output size is rounded up.
    """
    return spatial_average_pooling(layer)


@converts("inn.SpatialCrossResponseNormalization")
def cross_response_normalization(layer: Layer) -> LRN:
    """inn.SpatialCrossResponseNormalization(size, [alpha], [beta], [k])"""
    layer.ignore("scale")
    return LRN(layer.integer("size"), layer.number("alpha", 1e-4), layer.number("beta", 0.75), layer.number("k", 1.0))


class ConstAffine(nn.Module):
    """Scales each plane and adds a bias; both are constants."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.planes = planes
        self.register_buffer("a", torch.empty(planes))
        self.register_buffer("b", torch.empty(planes))
        self.a: torch.Tensor
        self.b: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = [-1, *[1] * (x.dim() - 2)]
        return x * self.a.reshape(shape) + self.b.reshape(shape)

    def extra_repr(self) -> str:
        return f"{self.planes}"


@converts("inn.ConstAffine")
def const_affine(layer: Layer) -> ConstAffine:
    """inn.ConstAffine(a, b)"""
    layer.ignore("inplace")
    module = layer.make(ConstAffine, layer.tensor("a").numel())
    layer.put(module, "a", layer.tensor("a").detach())
    layer.put(module, "b", layer.tensor("b").detach())
    return module


class MeanSubtraction(nn.Module):
    """Subtracts a mean image."""

    def __init__(self, size: list[int]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.empty(size))
        self.mean: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - self.mean

    def extra_repr(self) -> str:
        return f"{self.size}"


@converts("inn.MeanSubtraction")
def mean_subtraction(layer: Layer) -> MeanSubtraction:
    """inn.MeanSubtraction(mean)

    A forward leaves the mean expanded to the batch in the file; the first image of it is taken.
    """
    mean = layer.tensor("mean").detach()
    mean = mean[0] if mean.dim() == 4 else mean
    module = layer.make(MeanSubtraction, list(mean.shape))
    layer.put(module, "mean", mean)
    return module


class SameResponseNorm(nn.Module):
    """x / (1 + alpha * average of the squares around it) ** beta

    Args:
        size: side of the neighbourhood; what lies beyond the border counts as 0.
        alpha, beta: as above.
    """

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        around = F.avg_pool2d(x * x, self.size, 1, (self.size - 1) // 2)
        return x * (1 + self.alpha * around).pow(-self.beta)

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}"


@converts("inn.SpatialSameResponseNormalization")
def same_response_normalization(layer: Layer) -> SameResponseNorm:
    """inn.SpatialSameResponseNormalization(size, [alpha = 5e-5], [beta = 0.75])"""
    layer.ignore("modules")
    return SameResponseNorm(layer.integer("size", 3), layer.number("alpha", 5e-5), layer.number("beta", 0.75))
