"""Package dpnn: layers that change images at random in training, and that look at parts of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...t7 import LuaObject, LuaTable
from .resampling import BilinearResample


class PcaColorNoise(nn.Module):
    """In training, adds to each image a colour drawn along the principal components of colours.

    Args:
        planes: colour planes.
        std: standard deviation of the draw, times each eigenvalue.
    """

    def __init__(self, planes: int, std: float = 0.1) -> None:
        super().__init__()
        self.planes = planes
        self.std = std
        self.register_buffer("vectors", torch.empty(planes, planes))
        self.register_buffer("values", torch.empty(planes))
        self.vectors: torch.Tensor
        self.values: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x.clone()
        noise = torch.randn(*x.shape[:-3], self.planes, dtype=x.dtype, device=x.device) * self.std
        return x + ((noise * self.values) @ self.vectors.t())[..., None, None]

    def extra_repr(self) -> str:
        return f"{self.planes}, std={self.std}"


@converts("nn.PCAColorTransform", traits=Traits(safe_on_own_output=True))
def pca_color_transform(layer: Layer) -> PcaColorNoise:
    """nn.PCAColorTransform(inputChannels, eigenVectors, eigenValues, [std = 0.1])"""
    layer.ignore("noise", "alphas", "_tempNoise", "_tempNoiseExpanded", "_tempNoiseSamples", "_tempLambda")
    layer.ignore("_tempLambdaExpanded")
    module = layer.make(PcaColorNoise, layer.integer("inputChannels"), layer.number("std", 0.1))
    layer.put(module, "vectors", layer.tensor("eigenVectors").detach(), field="eigenVectors")
    return layer.put(module, "values", layer.tensor("eigenValues").detach().reshape(-1), field="eigenValues")


class ColorNoise(nn.Module):
    """In training, adds to each plane of each image a number drawn evenly from -range to range."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.planes = planes
        self.register_buffer("range", torch.empty(planes))
        self.range: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x.clone()
        noise = torch.rand(*x.shape[:-3], self.planes, dtype=x.dtype, device=x.device) * 2 - 1
        return x + (noise * self.range)[..., None, None]

    def extra_repr(self) -> str:
        return f"{self.planes}"


@converts("nn.SimpleColorTransform", traits=Traits(safe_on_own_output=True))
def simple_color_transform(layer: Layer) -> ColorNoise:
    """nn.SimpleColorTransform(inputChannels, range)"""
    layer.ignore("noise", "_tempNoise", "_tempNoiseExpanded", "_tempNoiseSamples")
    module = layer.make(ColorNoise, layer.integer("inputChannels"))
    return layer.put(module, "range", layer.tensor("range").detach().reshape(-1))


class RegionDropout(nn.Module):
    """In training, blanks a share p of the rows or columns at a random side of all images; scales by 1 / (1 - p)."""

    def __init__(self, p: float = 0.2) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x.clone()
        side = int(torch.randint(4, ()))
        axis = -2 if side < 2 else -1
        size = x.shape[axis]
        gone = math.floor(size * self.p)
        mask = x.new_ones(size)
        mask[: gone if side % 2 == 0 else 0] = 0
        mask[size - gone if side % 2 == 1 else size :] = 0
        return x * (mask / (1 - self.p)).reshape(-1, *[1] * (-1 - axis))

    def extra_repr(self) -> str:
        return f"p={self.p}"


@converts("nn.SpatialRegionDropout", traits=Traits(reads="images", keeps_size=True, picture="dropout", label=("p",)))
def spatial_region_dropout(layer: Layer) -> RegionDropout:
    """nn.SpatialRegionDropout([p = 0.2])"""
    layer.ignore("noise", "regionType")
    return RegionDropout(layer.number("p"))


class UniformCrop(nn.Module):
    """Cuts a window: a random one of each image in training, the central one in evaluation.

    Args:
        rows, columns: of the window.
        scale: lowest and highest factor of the window in training, which is then resampled; None: no scaling.
    """

    def __init__(self, rows: int, columns: int, scale: Sequence[float] | None = None) -> None:
        super().__init__()
        self.rows = rows
        self.columns = columns
        self.scale = scale
        self.scaler = BilinearResample(size=[rows, columns])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        if not self.training:
            top = max(math.ceil((height - self.rows) / 2) - 1, 0)
            left = max(math.ceil((width - self.columns) / 2) - 1, 0)
            return x[..., top : top + self.rows, left : left + self.columns].clone()
        images = x if x.dim() == 4 else x.unsqueeze(0)
        cut = torch.stack([self.random_window(image) for image in images])
        return cut if x.dim() == 4 else cut.squeeze(0)

    def random_window(self, image: torch.Tensor) -> torch.Tensor:
        """A random window of one image."""
        height, width = image.shape[-2:]
        if self.scale is None:
            top, left = self.draw(0.01, height - self.rows), self.draw(0.01, width - self.columns)
            return image[:, math.ceil(top) - 1 :, math.ceil(left) - 1 :][:, : self.rows, : self.columns]
        factor = self.draw(self.scale[0], self.scale[1])
        rows, columns = math.ceil(factor * self.rows), math.ceil(factor * self.columns)
        down = math.ceil(self.draw(0.01, height - rows))
        right = math.ceil(self.draw(0.01, width - columns))
        middle = math.ceil(height / 2 - (height - rows) / 2 + down)
        # Torch7 takes the height here too
        center = math.ceil(width / 2 - (height - columns) / 2 + right)
        top, left = max(middle - math.ceil(rows / 2), 1) - 1, max(center - math.ceil(columns / 2), 1) - 1
        if top + rows > height or left + columns > width:
            raise ValueError(f"a window of {rows} x {columns} at ({top}, {left}) is not inside {height} x {width}")
        scaled: torch.Tensor = self.scaler(image[:, top : top + rows, left : left + columns])
        return scaled

    def draw(self, low: float, high: float) -> float:
        """A random number between two others."""
        return low + (high - low) * float(torch.rand(()))

    def extra_repr(self) -> str:
        return f"{self.rows}, {self.columns}, scale={self.scale}"


@converts("nn.SpatialUniformCrop", traits=Traits(reads="images"))
def spatial_uniform_crop(layer: Layer) -> UniformCrop:
    """nn.SpatialUniformCrop(oheight, [owidth = oheight], [scale])"""
    layer.trains()  # unless it is told otherwise
    layer.ignore("scaler", "coord", "scales")
    scale = None
    if layer.has("scale"):
        table = layer.value("scale")
        ends = (
            [table.get("min", table.get(1.0)), table.get("max", table.get(2.0))] if isinstance(table, LuaTable) else []
        )
        scale = [end for end in ends if isinstance(end, float)]
        if len(scale) != 2:
            layer.refuse(f"its field 'scale' should hold two numbers and is {table!r}")
    return UniformCrop(layer.integer("oheight"), layer.integer("owidth"), scale)


class Glimpse(nn.Module):
    """Windows of growing size around a place of each image, all brought to one size; input: [images, places].

    Images (N, C, H, W), or (C, H, W); places (N, 2): row and column of the centre from -1 to 1. The gradient does not
    reach the places. Gives (N, depth * C, height, width).

    Args:
        height, width: of the output.
        depth: number of windows.
        scale: how much larger each window is than the one before.
        scaler: brings a window to the size of the output; None: bilinear resampling does.
        pooled: averages bring it to that size instead; None: if each window is twice as large.
    """

    def __init__(
        self,
        height: int,
        width: int,
        depth: int,
        scale: float,
        scaler: nn.Module | None = None,
        pooled: bool | None = None,
    ) -> None:
        super().__init__()
        self.height = height
        self.width = width
        self.depth = depth
        self.scale = scale
        self.scaler = BilinearResample(size=[height, width]) if scaler is None else scaler
        self.pooled = scale == 2 if pooled is None else pooled

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        images, places = x[0], x[1]
        single = images.dim() == 3
        if single:
            images, places = images.unsqueeze(0), places.unsqueeze(0)
        centers = (places.detach().double() + 1) / 2
        rows, columns = self.height, self.width
        windows = []
        for level in range(self.depth):
            if level > 0:
                rows, columns = math.floor(rows * self.scale), math.floor(columns * self.scale)
            window = self.cut(images, centers, rows, columns)
            if level > 0 and self.pooled:
                window = F.avg_pool2d(window, (rows // self.height, columns // self.width))
            elif level > 0:
                window = self.scaler(window)
            windows.append(window)
        glimpse = torch.cat(windows, 1)
        return glimpse.squeeze(0) if single else glimpse

    def cut(self, images: torch.Tensor, centers: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """One window of each image, zeros where it reaches beyond."""
        below, beside = (rows - 1) // 2, (columns - 1) // 2
        padded = F.pad(images, (beside, beside, below, below))
        high, wide = padded.shape[2] - rows, padded.shape[3] - columns
        top = (centers[:, 0] * high).clamp(0, high).floor().long()
        left = (centers[:, 1] * wide).clamp(0, wide).floor().long()
        down = top[:, None] + torch.arange(rows, device=top.device)
        right = left[:, None] + torch.arange(columns, device=top.device)
        which = torch.arange(images.shape[0], device=top.device)[:, None, None]
        return padded.permute(0, 2, 3, 1)[which, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}, depth={self.depth}, scale={self.scale}, pooled={self.pooled}"


module_form("runs", Glimpse)(attrgetter("depth"))


@converts("nn.SpatialGlimpse", traits=Traits(reads="images"))
def spatial_glimpse(layer: Layer) -> Glimpse:
    """nn.SpatialGlimpse(size, [depth = 3], [scale = 2])

    Torch7 scales with the module in the field `module`, whatever `modules` holds.
    """
    layer.ignore("modules", "_crop", "_pad")
    height, width, depth = layer.integer("height"), layer.integer("width"), layer.integer("depth", 3)
    scale, held = layer.number("scale", 2.0), layer.value("module")
    listed = layer.object.get("modules")
    if isinstance(listed, LuaTable) and listed.get(1) is not None and listed.get(1) is not held:
        layer.note("its field `module`, which Torch7 runs, is another module than the one in its `modules`")
    if not isinstance(held, LuaObject) or held.typename != "nn.SpatialAveragePooling":
        return Glimpse(height, width, depth, scale, layer.module("module"), pooled=False)
    if held.get("padW") or held.get("padH") or held.get("divide") is False or held.get("ceil_mode"):
        layer.refuse("its pooling has padding, rounds up, or does not divide")
    if scale != int(scale) or (depth > 1 and int(scale) % 2):
        layer.refuse("its pooling wants windows that are larger by an even factor, as Torch7 does")
    return Glimpse(height, width, depth, scale, pooled=True)
