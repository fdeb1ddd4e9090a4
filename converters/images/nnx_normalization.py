"""Package nnx: the normalization of images that came before nn's."""

from __future__ import annotations

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits


class SpatialNormalization(nn.Module):
    """Subtracts a local mean from an image (C, H, W), or (H, W), and divides by a local deviation, where not small.

    Args:
        mean: sums an image up around each pixel, over all planes.
        deviation: does the same with the squares.
        threshold: the least deviation; None: the mean of all, but at least 0.001.
    """

    def __init__(self, mean: nn.Module, deviation: nn.Module, threshold: float | None = None) -> None:
        super().__init__()
        self.mean = mean
        self.deviation = deviation
        self.threshold = threshold

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() == 2:
            x = x.unsqueeze(0)
        weight = self.mean(torch.ones_like(x)).detach()
        centred = x - self.mean(x) / weight
        deviation = self.deviation(centred * centred).sqrt() / weight
        if self.threshold is None:
            least = deviation.detach().mean().clamp(min=1e-3)
        else:
            least = torch.full_like(deviation[:1, :1, :1], self.threshold)
        y: torch.Tensor = centred / torch.where(deviation > least, deviation, least)
        return y

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"


@converts("nn.SpatialNormalization", traits=Traits(reads="images", keeps_size=True))
def spatial_normalization(layer: Layer) -> SpatialNormalization:
    """nn.SpatialNormalization(nInputPlane, kernel, [threshold]), of clementfarabet/lua---nnx

    Takes a single image.
    """
    layer.ignore("kernel", "nfeatures", "padW", "padH", "pad2W", "pad2H", "kerWisPair", "kerHisPair", "ker2WisPair")
    layer.ignore("ker2HisPair", "squareMod", "sqrtMod", "subtractMod", "meanDiviseMod", "stdDiviseMod", "diviseMod")
    layer.ignore("thresMod", "coef", "input", "inConvo", "inMean", "inputZeroMean", "inputZeroMeanSq", "inConvoVar")
    layer.ignore("inVar", "inStdDev", "inStdDevNotUnit", "stdDev", "thstd")
    threshold = layer.number("fixedThres") if layer.has("fixedThres") else None
    return SpatialNormalization(layer.module("convo"), layer.module("convostd"), threshold)
