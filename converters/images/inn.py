"""Package inn."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from ...t7 import LuaTable
from .normalization import LRN
from .pooling import IMAGE_POOLING, IMAGE_WINDOWS, AdaptiveMaxPool2d, spatial_average_pooling, spatial_max_pooling


@converts("inn.SpatialMaxPooling", traits=IMAGE_WINDOWS)
def max_pooling(layer: Layer) -> nn.Module:
    """inn.SpatialMaxPooling(kW, kH, [dW], [dH])

    Its output size is rounded up.
    """
    return spatial_max_pooling(layer)


@converts("inn.SpatialAveragePooling", traits=IMAGE_WINDOWS)
def average_pooling(layer: Layer) -> nn.Module:
    """inn.SpatialAveragePooling(kW, kH, [dW], [dH])

    Its output size is rounded up.
    """
    return spatial_average_pooling(layer)


@converts(
    "inn.SpatialCrossResponseNormalization", traits=Traits(safe_on_own_output=False, reads="images", keeps_size=True)
)
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


@converts("inn.ConstAffine", traits=Traits(safe_on_own_output=True))
@converts("nn.SpatialConstDiagonal", traits=Traits(reads="images"))
def const_affine(layer: Layer) -> ConstAffine:
    """inn.ConstAffine(nOutputPlane, [inplace]); nn.SpatialConstDiagonal of facebookresearch/deepmask is the same"""
    layer.ignore("inplace")
    module = layer.make(ConstAffine, layer.tensor("a").numel())
    layer.put(module, "a", layer.tensor("a").detach())
    return layer.put(module, "b", layer.tensor("b").detach())


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


@converts("inn.MeanSubtraction", traits=Traits(safe_on_own_output=True))
def mean_subtraction(layer: Layer) -> MeanSubtraction:
    """inn.MeanSubtraction(mean)

    A forward leaves the mean expanded to the batch in the file; the first image of it is taken.
    """
    mean = layer.tensor("mean").detach()
    mean = mean[0] if mean.dim() == 4 else mean
    return layer.put(layer.make(MeanSubtraction, list(mean.shape)), "mean", mean)


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


@converts("inn.SpatialSameResponseNormalization", traits=Traits(reads="images", keeps_size=True))
def same_response_normalization(layer: Layer) -> SameResponseNorm:
    """inn.SpatialSameResponseNormalization(size, [alpha = 5e-5], [beta = 0.75])"""
    layer.ignore("modules")
    return SameResponseNorm(layer.integer("size", 3), layer.number("alpha", 5e-5), layer.number("beta", 0.75))


class RoiPool(nn.Module):
    """Max pooling of regions; input: [maps (N, C, H, W), regions (R, 5)], output (R, C, rows, columns).

    A region is image, left, top, right, bottom, all 1-based.

    Args:
        rows, columns: cells of a region.
        scale: from the pixels of regions to those of maps.
        inclusive: the first version of the layer: the right and lower border belong to the region, cells overlap.
    """

    def __init__(self, rows: int, columns: int, scale: float, inclusive: bool = False) -> None:
        super().__init__()
        self.rows = rows
        self.columns = columns
        self.scale = scale
        self.inclusive = inclusive

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        maps, regions = x[0], x[1].detach()
        left, top, right, bottom = (self.rounded((regions[:, i] - 1) * self.scale) for i in range(1, 5))
        lines = maps[regions[:, 0].long() - 1]
        strips = self.pool(lines.transpose(2, 3), top, bottom, self.rows)
        return self.pool(strips.transpose(2, 3), left, right, self.columns)

    def rounded(self, x: torch.Tensor) -> torch.Tensor:
        """To the nearest whole number; halves go away from 0."""
        return x.sign() * (x.abs() + 0.5).floor()

    def pool(self, x: torch.Tensor, start: torch.Tensor, end: torch.Tensor, cells: int) -> torch.Tensor:
        """The maximum of each cell between `start` and `end` (R,), along the last axis; 0 for an empty cell."""
        size = x.shape[-1]
        length = (end - start + (1 if self.inclusive else 0)).clamp(min=1)
        step = length / cells
        place = torch.arange(size, device=x.device)
        found = []
        for i in range(cells):
            low, high = i * step, (i + 1) * step
            low, high = (low.floor(), high.ceil()) if self.inclusive else (self.rounded(low), self.rounded(high))
            low, high = (low + start).clamp(0, size), (high + start).clamp(0, size)
            inside = ((place >= low[:, None]) & (place < high[:, None]))[:, None, None, :]
            highest = x.masked_fill(~inside, float("-inf")).amax(-1)
            found.append(torch.where((high > low)[:, None, None], highest, 0))
        return torch.stack(found, -1)

    def extra_repr(self) -> str:
        return f"{self.rows}, {self.columns}, scale={self.scale}, inclusive={self.inclusive}"


@converts("inn.ROIPooling", traits=Traits(picture="pooling"))
def roi_pooling(layer: Layer) -> RoiPool:
    """inn.ROIPooling(W, H, [spatial_scale = 1])

    Files without `v2` hold the first version, whose cells overlap and include the far border.
    """
    layer.ignore("indices", "gradInput_boxes", "gradInput_rois")
    inclusive = not layer.flag("v2", False)
    return RoiPool(layer.integer("H"), layer.integer("W"), layer.number("spatial_scale", 1.0), inclusive)


class PyramidPool(nn.Module):
    """Adaptive max pooling to several sizes, all values of a sample in one row.

    Args:
        pools: one per size.
    """

    def __init__(self, pools: list[nn.Module]) -> None:
        super().__init__()
        self.pools = nn.ModuleList(pools)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([pool(x).flatten(-3) for pool in self.pools], -1)


@converts("inn.SpatialPyramidPooling", traits=IMAGE_POOLING)
def spatial_pyramid_pooling(layer: Layer) -> PyramidPool:
    """inn.SpatialPyramidPooling({w1, h1}, {w2, h2}, …)"""
    layer.ignore("modules", "dimension", "outputSize", "size")
    sizes = layer.value("pyr")
    if not isinstance(sizes, LuaTable):
        layer.refuse(f"its field 'pyr' should be a list of sizes and is {sizes!r}")
    pools: list[nn.Module] = []
    for size in sizes.list():
        if not isinstance(size, LuaTable) or len(size) != 2:
            layer.refuse(f"its field 'pyr' should be a list of sizes and holds {size!r}")
        columns, rows = (int(number) for number in size.list())
        pools.append(AdaptiveMaxPool2d((rows, columns)))
    return PyramidPool(pools)
