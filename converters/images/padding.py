"""Padding and cropping of images and volumes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits

IMAGES = Traits(reads="images")


class Pad(nn.Module):
    """Pads the last axes; negative numbers crop.

    Args:
        padding: left, right, top, bottom(, front, back).
        mode: "constant" (zeros), "reflect" or "replicate".
    """

    def __init__(self, padding: Sequence[int], mode: str) -> None:
        super().__init__()
        self.padding = tuple(padding)
        self.mode = mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grown = [max(p, 0) for p in self.padding]
        y = F.pad(x, grown, self.mode)
        return F.pad(y, [min(p, 0) for p in self.padding])

    def extra_repr(self) -> str:
        return f"{self.padding}, mode={self.mode!r}"


def sides_of(layer: Layer) -> tuple[int, int, int, int]:
    """Left, right, top, bottom."""
    return (layer.integer("pad_l"), layer.integer("pad_r"), layer.integer("pad_t"), layer.integer("pad_b"))


@converts("nn.SpatialZeroPadding", traits=IMAGES)
def spatial_zero_padding(layer: Layer) -> nn.ZeroPad2d:
    """nn.SpatialZeroPadding(padLeft, [padRight], [padTop], [padBottom])

    Negative numbers crop.
    """
    return nn.ZeroPad2d(sides_of(layer))


@converts("nn.SpatialReflectionPadding", traits=IMAGES)
def spatial_reflection_padding(layer: Layer) -> nn.Module:
    """nn.SpatialReflectionPadding(padLeft, [padRight], [padTop], [padBottom])

    Negative numbers crop.
    """
    sides = sides_of(layer)
    return nn.ReflectionPad2d(sides) if min(sides) >= 0 else Pad(sides, "reflect")


@converts("nn.SpatialReplicationPadding", traits=IMAGES)
def spatial_replication_padding(layer: Layer) -> nn.Module:
    """nn.SpatialReplicationPadding(padLeft, [padRight], [padTop], [padBottom])

    Negative numbers crop.
    """
    sides = sides_of(layer)
    return nn.ReplicationPad2d(sides) if min(sides) >= 0 else Pad(sides, "replicate")


@converts("nn.VolumetricReplicationPadding", traits=Traits(reads="volumes"))
def volumetric_replication_padding(layer: Layer) -> nn.Module:
    """nn.VolumetricReplicationPadding(pleft, [pright], [ptop], [pbottom], [pfront], [pback])"""
    names = ("pleft", "pright", "ptop", "pbottom", "pfront", "pback")
    left, right, top, bottom, front, back = (layer.integer(name) for name in names)
    sides = (left, right, top, bottom, front, back)
    return nn.ReplicationPad3d(sides) if min(sides) >= 0 else Pad(sides, "replicate")
