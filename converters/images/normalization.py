"""Normalization that has no running statistics: of vectors, across maps, of neighbourhoods."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...onnx.operators.stand_ins import StandIn, operator

IMAGE_NORMALIZATION = Traits(reads="images", keeps_size=True)


class LRN(nn.LocalResponseNorm):
    """Local response normalization across planes; also of a sample without a batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x.unsqueeze(0) if x.dim() == 3 else x
        y = F.local_response_norm(batch, self.size, self.alpha, self.beta, self.k)
        return y.squeeze(0) if x.dim() == 3 else y


@module_form("onnx", LRN)
class OnnxLRN(StandIn, LRN):
    """As `LRN`."""

    @classmethod
    def put(cls, module: LRN) -> None:
        if module.size % 2 == 1:  # of an even number of planes, ONNX and PyTorch take different ones
            super().put(module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x if x.dim() == 4 else x.unsqueeze(0)
        attributes = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "bias": self.k}
        y: torch.Tensor = operator("LRN", (batch,), attributes, x, batch.shape)
        return y if x.dim() == 4 else y.squeeze(0)


@converts(
    "nn.SpatialCrossMapLRN", "cudnn.SpatialCrossMapLRN", traits=replace(IMAGE_NORMALIZATION, safe_on_own_output=False)
)
def spatial_cross_map_lrn(layer: Layer) -> LRN:
    """nn.SpatialCrossMapLRN(size, [alpha = 1e-4], [beta = 0.75], [k = 1])

    cudnn's has k = 2 where it is not given. Torch7 divides alpha by the size, as PyTorch does.
    """
    layer.ignore("scale", "paddedRatio", "accumRatio", "K", "iSize")
    size = layer.integer("size")
    if size % 2 == 0 and layer.typename.startswith("nn."):
        layer.refuse(f"its size is {size}; it must be odd")
    given = layer.has("K") and not layer.has("k")
    k = layer.number("K") if given else layer.number("k", 1.0 if layer.typename.startswith("nn.") else 2.0)
    return LRN(size, layer.number("alpha", 1e-4), layer.number("beta", 0.75), k)


class Normalize(nn.Module):
    """Divides each row by its p-norm; `eps` is added before the root, for p = infinity to the norm itself."""

    def __init__(self, p: float, eps: float = 1e-10) -> None:
        super().__init__()
        self.p = p
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.p == float("inf"):
            return x / (x.abs().amax(-1, keepdim=True) + self.eps)
        powers = x.pow(self.p) if self.p % 2 == 0 else x.abs().pow(self.p)
        return x / (powers.sum(-1, keepdim=True) + self.eps).pow(1 / self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}, eps={self.eps}"


@converts("nn.Normalize", traits=Traits(safe_on_own_output=True))
def normalize(layer: Layer) -> Normalize:
    """nn.Normalize(p, [eps = 1e-10])"""
    layer.ignore("norm", "normp", "buffer", "_indices", "cross", "buffer2", "indices")
    return Normalize(layer.number("p"), layer.number("eps", 1e-10))


@converts("nn.LayerNormalization", traits=Traits(keeps_size=True, picture="normalization"))
def layer_normalization(layer: Layer) -> nn.Sequential:
    """nn.LayerNormalization(nOutput, [bias = 0], [eps = 1e-10], [affine = true])

    A sequence of nn's own layers in Torch7, and here.
    """
    return nn.Sequential(*layer.modules())


class SubtractiveNorm(nn.Module):
    """Subtracts the weighted mean of each neighbourhood, corrected at the borders.

    Args:
        mean: sums each neighbourhood, weighted.
    """

    def __init__(self, mean: nn.Module) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # the mean comes once per plane, in a dimension of its own
        mean: torch.Tensor = self.mean(x)
        return x - mean.reshape(x.shape) / border(self.mean, x)


def border(mean: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What the weights of each neighbourhood sum up to: less at the borders."""
    ones = torch.ones_like(x[0] if x.dim() == 4 else x)
    weights: torch.Tensor = mean(ones)
    return weights.reshape(ones.shape).detach()


@converts("nn.SpatialSubtractiveNormalization", traits=IMAGE_NORMALIZATION)
def spatial_subtractive_normalization(layer: Layer) -> SubtractiveNorm:
    """nn.SpatialSubtractiveNormalization(nInputPlane, kernel)"""
    layer.ignore("kernel", "nInputPlane", "subtractor", "divider", *_BUFFERS)
    return SubtractiveNorm(layer.module("meanestimator"))


class DivisiveNorm(nn.Module):
    """Divides by the weighted deviation of each neighbourhood, corrected at the borders, if it is large enough.

    Args:
        mean: sums each neighbourhood, weighted.
        deviation: the root of the weighted sum of squares of each neighbourhood.
        threshold: deviations that are not larger are replaced by `value`.
        value: what replaces them.
    """

    def __init__(self, mean: nn.Module, deviation: nn.Module, threshold: float, value: float) -> None:
        super().__init__()
        self.mean = mean
        self.deviation = deviation
        self.threshold = threshold
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deviation = self.deviation(x).reshape(x.shape) / border(self.mean, x)
        return x / F.threshold(deviation, self.threshold, self.value)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}"


_BUFFERS = (
    "coef", "_coef", "ones", "_inpsz", "localsums", "adjustedsums", "localstds", "adjustedstds", "thresholdedstds",
)  # fmt: skip


@converts("nn.SpatialDivisiveNormalization", traits=IMAGE_NORMALIZATION)
def spatial_divisive_normalization(layer: Layer) -> DivisiveNorm:
    """nn.SpatialDivisiveNormalization(nInputPlane, kernel, [threshold = 1e-4], [thresval = threshold])"""
    layer.ignore("kernel", "nInputPlane", "normalizer", "divider", "thresholder", *_BUFFERS)
    threshold = layer.number("threshold", 1e-4)
    return DivisiveNorm(
        layer.module("meanestimator"), layer.module("stdestimator"), threshold, layer.number("thresval", threshold)
    )


@converts("nn.SpatialContrastiveNormalization", traits=IMAGE_NORMALIZATION)
def spatial_contrastive_normalization(layer: Layer) -> nn.Module:
    """nn.SpatialContrastiveNormalization(nInputPlane, kernel, [threshold = 1e-4], [thresval = threshold])

    A subtractive and a divisive normalization, one after the other.
    """
    layer.ignore("kernel", "nInputPlane", "threshold", "thresval")
    return layer.module("normalizer")
