"""Package nnx: what works on each place of an image, or on neighbouring places; its normalization of images."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from ...t7 import LuaObject, Tensor
from .padding import IMAGES


@converts("nn.SpatialLinear", traits=Traits(reads="images", picture="weights"))
def spatial_linear(layer: Layer) -> nn.Conv2d:
    """nn.SpatialLinear(fanin, fanout)

    A convolution with a kernel of one pixel.
    """
    layer.ignore("fanin", "fanout", "weightDecay")
    weight = layer.tensor("weight")
    module = layer.make(nn.Conv2d, weight.shape[1], weight.shape[0], 1)
    layer.put(module, "weight", weight[:, :, None, None])
    return layer.put(module, "bias")


class SpatialClassifier(nn.Module):
    """Runs a classifier of vectors on each place of an image (C, H, W).

    Args:
        classifier: takes a batch of vectors.
        spatial: give an image; else one row per place.
    """

    def __init__(self, classifier: nn.Module, spatial: bool = True) -> None:
        super().__init__()
        self.classifier = classifier
        self.spatial = spatial

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.classifier(x.flatten(1).t())
        return rows.t().reshape(-1, x.shape[1], x.shape[2]) if self.spatial else rows

    def extra_repr(self) -> str:
        return f"spatial={self.spatial}"


@converts("nn.SpatialClassifier", traits=IMAGES)
def spatial_classifier(layer: Layer) -> SpatialClassifier:
    """nn.SpatialClassifier(classifier)"""
    layer.ignore("modules", "inputF", "inputT", "outputF", "outputT", "gradOutputF", "gradOutputT", "gradInputF")
    layer.ignore("gradInputT")
    return SpatialClassifier(layer.module("classifier"), layer.flag("spatialOutput", True))


class ColorTransform(nn.Module):
    """Mixes the colour planes of an image by a constant matrix."""

    def __init__(self, planes: int, outputs: int) -> None:
        super().__init__()
        self.planes = planes
        self.outputs = outputs
        self.register_buffer("weight", torch.empty(outputs, planes))
        self.register_buffer("bias", torch.empty(outputs))
        self.weight: torch.Tensor
        self.bias: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight[:, :, None, None], self.bias)

    def extra_repr(self) -> str:
        return f"{self.planes}, {self.outputs}"


@converts("nn.SpatialColorTransform", traits=IMAGES)
def spatial_color_transform(layer: Layer) -> ColorTransform:
    """nn.SpatialColorTransform('rgb2yuv' | 'yuv2rgb' | 'rgb2y')

    Its matrix is no parameter. The transforms that call Lua's image package (hsl, hsv, nrgb) are refused.
    """
    layer.ignore("usage", "islinear")
    linear = layer.value("linear", None)
    if not isinstance(linear, LuaObject):
        layer.refuse(
            f"its transform {layer.text('transform')!r} is done by Lua's image package, which is not converted"
        )
    layer.ignore("transform")
    weight, bias = linear["weight"], linear["bias"]
    if not (isinstance(weight, Tensor) and isinstance(bias, Tensor)):
        layer.refuse("its field 'linear' has no weight and bias")
    module = layer.make(ColorTransform, weight.size[1], weight.size[0])
    layer.put(module, "weight", layer.numbers_of(weight), field="linear")
    return layer.put(module, "bias", layer.numbers_of(bias), field="linear")


class NeighborDistance(nn.Module):
    """Distance of each pixel of (C, H, W) to its right and to its lower neighbour; 0 at the border.

    Args:
        cosine: 1 - cosine or C - dot product, instead of the Euclidean distance.
        normalize: divide by the root of the number of planes, or by the norms.
    """

    def __init__(self, cosine: bool = False, normalize: bool = True) -> None:
        super().__init__()
        self.cosine = cosine
        self.normalize = normalize

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        right = F.pad(self.distance(x[:, :, :-1], x[:, :, 1:]), (0, 1))
        below = F.pad(self.distance(x[:, :-1], x[:, 1:]), (0, 0, 0, 1))
        return torch.stack([right, below])

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Of two images, pixel by pixel."""
        if not self.cosine:
            squares = (a - b).square().sum(0)
            apart = squares > 0
            length = torch.where(apart, squares, 1).sqrt() * apart
            return length / a.shape[0] ** 0.5 if self.normalize else length
        a, b = a + 1e-12, b + 1e-12
        dot = (a * b).sum(0)
        return 1 - dot / (a.norm(dim=0) * b.norm(dim=0)) if self.normalize else a.shape[0] - dot

    def extra_repr(self) -> str:
        return f"cosine={self.cosine}, normalize={self.normalize}"


@converts("nn.SpatialGraph", traits=IMAGES)
def spatial_graph(layer: Layer) -> NeighborDistance:
    """nn.SpatialGraph{[dist = 'euclid'], [normalize = true], [connex = 4]}

    Torch7's gradient of the normalized cosine distance is not its derivative; here it is.
    """
    layer.ignore("usage")
    if layer.integer("connex", 4) != 4:
        layer.refuse("its connexity is not 4")
    return NeighborDistance(layer.integer("dist", 0) == 1, layer.flag("normalize", True))


@converts("nn.PixelSort", traits=Traits(reuses="storage"))
def pixel_sort(layer: Layer) -> nn.PixelUnshuffle:
    """nn.PixelSort(downscaleFactor)"""
    layer.ignore("downscaleFactorSquared", "_intermediateShape", "_outShape", "_shuffleOut", "_shuffleIn")
    return nn.PixelUnshuffle(layer.integer("downscaleFactor"))


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
