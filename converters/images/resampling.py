"""Package nnx: layers that resample images: larger, smaller, or as a pyramid."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from .padding import IMAGES, sides_of


def _axes(layer: Layer, y: str = "yDim", x: str = "xDim") -> tuple[int, int]:
    return layer.integer(y, 2) - 1, layer.integer(x, 3) - 1


class BilinearResample(nn.Module):
    """Bilinear resampling of two neighbouring axes; the corners stay where they are.

    Args:
        axis: of the rows, from the start or (negative) from the end.
        size: rows and columns of the output; None: `ratios` times those of the input.
        ratios: output / input, of rows and columns.
        rounded: round to the nearest size, not down.
    """

    def __init__(
        self,
        axis: int = -2,
        size: Sequence[int] | None = None,
        ratios: Sequence[float] | None = None,
        rounded: bool = False,
    ) -> None:
        super().__init__()
        self.axis = axis
        self.size = size
        self.ratios = ratios
        self.rounded = rounded

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axis = self.axis % x.dim()
        size = self.size or [1, 1]
        if self.ratios is not None:
            more = 0.5 if self.rounded else 0.0
            size = [int(ratio * x.shape[axis + i] + more) for i, ratio in enumerate(self.ratios)]
        if x.dtype != torch.float64 and axis == x.dim() - 2 and x.dim() in (3, 4):
            images = x if x.dim() == 4 else x.unsqueeze(0)
            y = F.interpolate(images, size, mode="bilinear", align_corners=True)
            return y if x.dim() == 4 else y.squeeze(0)
        top, bottom, up, down = self.neighbors(x, axis, size[0])
        left, right, west, east = self.neighbors(x, axis + 1, size[1])
        after = [1] * (x.dim() - axis - 2)
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for rows, high in ((top, up), (bottom, down)):
            lines = x.index_select(axis, rows)
            for columns, wide in ((left, west), (right, east)):
                # Torch7 rounds the product of the weights to single precision, also for doubles
                weight = (high[:, None] * wide).to(x.dtype).reshape(*size, *after)
                total = total + lines.index_select(axis + 1, columns) * weight
        return total

    def neighbors(self, x: torch.Tensor, axis: int, size: int) -> tuple[torch.Tensor, ...]:
        """Along one axis, the places before and after each output, and their weights."""
        old = x.shape[axis]
        one = torch.ones((), dtype=torch.float32, device=x.device)
        step = one * (old - 1) / (size - 1) if size > 1 else one * 0
        place = torch.arange(size, dtype=torch.float32, device=x.device) * step
        low = place.floor()
        return low.long(), (low.long() + 1).clamp(max=old - 1), low + 1 - place, place - low

    def extra_repr(self) -> str:
        return f"axis={self.axis}, size={self.size}, ratios={self.ratios}, rounded={self.rounded}"


@converts("nn.SpatialReSampling", traits=IMAGES)
def spatial_re_sampling(layer: Layer) -> BilinearResample:
    """nn.SpatialReSampling{owidth=W, oheight=H} or nn.SpatialReSampling{rwidth=…, rheight=…}

    Bilinear; the corners stay where they are. Torch7 turns ratios into the size that the first image gives, and keeps
    that for all later images; here each image is resampled by the ratios.
    """
    layer.ignore("usage")
    names = ("oheight", "owidth")
    if all(layer.has(name) for name in names):
        layer.ignore("rwidth", "rheight")
        return BilinearResample(size=[int(layer.number(name)) for name in names])
    if not (layer.has("rheight") and layer.has("rwidth")):
        layer.refuse("it has neither owidth and oheight nor rwidth and rheight")
    layer.note("Torch7 keeps the size that the first image gives; here each image is resampled by the ratios")
    return BilinearResample(ratios=[layer.number("rheight"), layer.number("rwidth")])


class Resample(nn.Module):
    """Nearest or averaging resampling of the axis `axis` and the one after it.

    Args:
        average: where the image gets smaller, the average of each cell; else its first pixel.
        axis: of the rows; 0-based.
        size: rows and columns of the output; None: `ratios` times those of the input, rounded.
        ratios: output / input, of rows and columns.
    """

    def __init__(
        self, average: bool, axis: int, size: Sequence[int] | None = None, ratios: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.average = average
        self.axis = axis
        self.size = size
        self.ratios = ratios

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for place in (0, 1):
            axis = self.axis + place
            old = x.shape[axis]
            if self.size is not None:
                new = self.size[place]
            else:
                new = int(self.ratios[place] * old + 0.5) if self.ratios is not None else old
            x = self.resample(x, axis, old, new)
        return x

    def resample(self, x: torch.Tensor, axis: int, old: int, new: int) -> torch.Tensor:
        """Resamples one axis."""
        if new >= old:
            cell = (new + old - 1) // old
            return x.index_select(axis, torch.arange(new, device=x.device) // cell)
        cell = old // new
        kept = x.narrow(axis, 0, new * cell)
        cells = kept.reshape(*x.shape[:axis], new, cell, *x.shape[axis + 1 :])
        return cells.mean(axis + 1) if self.average else cells.select(axis + 1, 0).clone()

    def extra_repr(self) -> str:
        return f"average={self.average}, axis={self.axis}, size={self.size}, ratios={self.ratios}"


@converts("nn.SpatialReSamplingEx", traits=Traits(reuses="unknown", reads="images"))
def spatial_re_sampling_ex(layer: Layer) -> nn.Module:
    """nn.SpatialReSamplingEx{owidth, oheight | rwidth, rheight, [mode = 'simple'], [yDim = 2], [xDim = 3]}"""
    layer.ignore(
        "usage", "inputSize", "outputSize", "oheightCurrent", "owidthCurrent", "iheight", "iwidth", "mode_c", "xDim"
    )
    mode = layer.text("mode", "simple")
    if mode not in ("simple", "average", "bilinear"):
        layer.refuse(f"its mode is {mode!r}")
    axis, _ = _axes(layer)
    sized = layer.has("oheight") and layer.has("owidth")
    size = [layer.integer(name) for name in ("oheight", "owidth")] if sized else None
    ratios = None if sized else [layer.number(name) for name in ("rheight", "rwidth")]
    layer.ignore("rheight", "rwidth")
    if mode == "bilinear":
        return BilinearResample(axis, size, ratios, rounded=True)
    return Resample(mode == "average", axis, size, ratios)


class RepeatPixels(nn.Module):
    """Repeats each pixel: `rows` times along `axis`, `columns` times along the next."""

    def __init__(self, rows: int, columns: int, axis: int) -> None:
        super().__init__()
        self.rows = rows
        self.columns = columns
        self.axis = axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for axis, times in ((self.axis, self.rows), (self.axis + 1, self.columns)):
            copies = [-1] * (x.dim() + 1)
            copies[axis + 1] = times
            x = x.unsqueeze(axis + 1).expand(copies).flatten(axis, axis + 1)
        return x

    def extra_repr(self) -> str:
        return f"rows={self.rows}, columns={self.columns}, axis={self.axis}"


@converts("nn.SpatialUpSampling", traits=Traits(reuses="unknown", reads="images", picture="pooling"))
def spatial_up_sampling(layer: Layer) -> RepeatPixels:
    """nn.SpatialUpSampling(dW, dH, [yDim = 2], [xDim = 3])"""
    layer.ignore("usage", "inputSize", "outputSize")
    axis, _ = _axes(layer)
    return RepeatPixels(layer.integer("dH"), layer.integer("dW"), axis)


@converts("nn.SpatialDownSampling", traits=IMAGES)
def spatial_down_sampling(layer: Layer) -> nn.AvgPool2d:
    """nn.SpatialDownSampling(rW, rH)"""
    layer.ignore("usage")
    return nn.AvgPool2d((layer.integer("rH"), layer.integer("rW")))


class MaxResample(nn.Module):
    """The maximum of each of rows x columns cells of an image (C, H, W); cells are cut in single precision."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows = rows
        self.columns = columns

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lines = []
        for top, bottom in self.cells(x.shape[-2], self.rows):
            strip = x[..., top:bottom, :].amax(-2)
            parts = [strip[..., left:right].amax(-1) for left, right in self.cells(x.shape[-1], self.columns)]
            lines.append(torch.stack(parts, -1))
        return torch.stack(lines, -2)

    def cells(self, size: int, count: int) -> list[tuple[int, int]]:
        """Begin and end of each cell."""
        step = self.single(size / count)
        ends = [int(self.single(i * step)) for i in range(count + 1)]
        return [(ends[i], max(ends[i] + 1, ends[i + 1])) for i in range(count)]

    def single(self, number: float) -> float:
        """The number in single precision."""
        rounded: float = struct.unpack("f", struct.pack("f", number))[0]
        return rounded

    def extra_repr(self) -> str:
        return f"{self.rows}, {self.columns}"


@converts("nn.SpatialMaxSampling", traits=IMAGES)
def spatial_max_sampling(layer: Layer) -> MaxResample:
    """nn.SpatialMaxSampling{owidth=W, oheight=H}"""
    layer.ignore("usage", "indices")
    return MaxResample(layer.integer("oheight"), layer.integer("owidth"))


class SpatialPad(nn.Module):
    """Pads two axes of an image with a constant; negative numbers crop.

    Args:
        padding: left, right, top, bottom.
        rows, columns: the axes of rows and columns; 0-based.
        value: what is padded with.
    """

    def __init__(self, padding: Sequence[int], rows: int, columns: int, value: float = 0.0) -> None:
        super().__init__()
        self.padding = padding
        self.rows = rows
        self.columns = columns
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right, top, bottom = self.padding
        sides = [0] * (2 * x.dim())
        for axis, before, after in ((self.columns, left, right), (self.rows, top, bottom)):
            place = 2 * (x.dim() - 1 - axis)
            sides[place : place + 2] = [before, after]
        return F.pad(x, sides, value=self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}, rows={self.rows}, columns={self.columns}, value={self.value}"


@converts("nn.SpatialPadding", traits=IMAGES)
def spatial_padding(layer: Layer) -> SpatialPad:
    """nn.SpatialPadding(pad_l, [pad_r], [pad_t], [pad_b], [y_dim = 2], [x_dim = 3], [val = 0])"""
    rows, columns = _axes(layer, "y_dim", "x_dim")
    return SpatialPad(list(sides_of(layer)), rows, columns, layer.number("val", 0.0))


@converts("nn.SpatialPyramid", traits=Traits(reuses="unknown", children=("unfocused_pipeline",), reads="images"))
def spatial_pyramid(layer: Layer) -> nn.Module:
    """nn.SpatialPyramid(ratios, processors, kW, kH, dW, dH, …)

    The pipeline that sees the whole image; a pyramid that was left focused on a point is refused.
    """
    layer.ignore("ratios", "processors", "focused_pipeline", "prescaled_input", "kW", "kH", "dW", "dH")
    layer.ignore("x", "y", "wFocus", "hFocus", "winWidth", "winHeight")
    if layer.flag("focused", False):
        layer.refuse("it was left focused on a point; call pyramid:focus(nil) in Torch7 before saving it")
    return layer.module("unfocused_pipeline")
