"""Upsampling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...source.forms import Structure


class LinearUpsample(nn.Module):
    """Linear interpolation of the last two or three axes; the corners stay where they are.

    Args:
        axes: 2 (bilinear), 3 (trilinear), or None: all but the first two of the input.
        scale_factor: n pixels become n * scale_factor; None: `size` says how many.
        size: of the output: (depth,) height, width.
    """

    def __init__(
        self, axes: int | None = None, scale_factor: int | None = None, size: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.axes = axes
        self.scale_factor = scale_factor
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = x.dim() - 2 if self.axes is None else self.axes
        batch = x if x.dim() == axes + 2 else x.unsqueeze(0)
        factor = self.scale_factor or 1
        size = [n * factor for n in batch.shape[2:]] if self.size is None else list(self.size)[-axes:]
        if x.dtype == torch.float64:
            y = batch
            for axis in range(axes):
                y = self.interpolate(y, 2 + axis, size[axis])
        else:
            y = F.interpolate(batch, size, mode="bilinear" if axes == 2 else "trilinear", align_corners=True)
        return y if x.dim() == axes + 2 else y.squeeze(0)

    def interpolate(self, x: torch.Tensor, axis: int, size: int) -> torch.Tensor:
        """Interpolates one axis; Torch7 computes the weights in float32 also for doubles."""
        old = x.shape[axis]
        one = torch.ones((), dtype=torch.float32, device=x.device)
        step = one * (old - 1) / (size - 1) if size > 1 else one * 0
        place = torch.arange(size, dtype=torch.float32, device=x.device) * step
        low = place.long()
        weight = (place - low).to(x.dtype).reshape(-1, *[1] * (x.dim() - 1 - axis))
        high = (low + 1).clamp(max=old - 1)
        return x.index_select(axis, low) * (1 - weight) + x.index_select(axis, high) * weight

    def extra_repr(self) -> str:
        return f"axes={self.axes}, scale_factor={self.scale_factor}, size={self.size}"


class NearestUpsample(nn.Module):
    """Repeats each pixel of the last axes.

    Args:
        scale_factor: how often.
    """

    def __init__(self, scale_factor: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.interpolate(x.unsqueeze(0) if x.dim() == 3 else x, scale_factor=float(self.scale_factor))
        return y.squeeze(0) if x.dim() == 3 else y

    def extra_repr(self) -> str:
        return f"scale_factor={self.scale_factor}"


module_form("structure", LinearUpsample, NearestUpsample)(Structure(enlarges=True))


@module_form("stock", LinearUpsample, NearestUpsample)
def _stock(module: LinearUpsample | NearestUpsample, x: torch.Tensor) -> nn.Module | None:
    if isinstance(module, NearestUpsample):
        return nn.Upsample(scale_factor=module.scale_factor)
    if x.dim() != 4 or module.scale_factor is None:
        return None
    return nn.Upsample(scale_factor=module.scale_factor, mode="bilinear", align_corners=True)


@converts("nn.SpatialUpSamplingNearest", traits=Traits(reads="images", picture="pooling"))
def spatial_up_sampling_nearest(layer: Layer) -> NearestUpsample:
    """nn.SpatialUpSamplingNearest(scale)"""
    layer.ignore("inputSize", "outputSize")
    return NearestUpsample(layer.integer("scale_factor"))


def _linear(layer: Layer, *names: str) -> LinearUpsample:
    layer.ignore("inputSize", "outputSize")
    given = [name for name in names if layer.has(name)]
    if layer.has("scale_factor"):
        # owidth and oheight are then what the last input gave
        return LinearUpsample(len(names), scale_factor=layer.integer("scale_factor"))
    if len(given) != len(names):
        layer.refuse(f"it has neither scale_factor nor {', '.join(names)}")
    return LinearUpsample(len(names), size=[layer.integer(name) for name in names])


@converts("nn.SpatialUpSamplingBilinear", traits=Traits(reads="images", picture="pooling"))
def spatial_up_sampling_bilinear(layer: Layer) -> LinearUpsample:
    """nn.SpatialUpSamplingBilinear(scale) or nn.SpatialUpSamplingBilinear{oheight=H, owidth=W}

    The corners stay where they are.
    """
    return _linear(layer, "oheight", "owidth")


@converts("nn.UpSampling", traits=Traits(picture="pooling"))
def up_sampling(layer: Layer) -> nn.Module:
    """nn.UpSampling(scale, [mode = 'nearest']) or nn.UpSampling({odepth=T, oheight=H, owidth=W}, [mode])

    Modes nearest and linear, the latter with the corners staying where they are.
    """
    layer.ignore("inputSize", "outputSize")
    mode = layer.text("mode", "nearest")
    if mode == "nearest":
        return NearestUpsample(layer.integer("scale_factor"))
    if mode != "linear":
        layer.refuse(f"its mode is {mode!r}")
    return LinearUpsample(
        None,
        layer.integer("scale_factor") if layer.has("scale_factor") else None,
        None
        if layer.has("scale_factor")
        else [layer.integer(name) for name in ("odepth", "oheight", "owidth") if layer.has(name)],
    )
