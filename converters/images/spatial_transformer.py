"""Package stn: spatial transformers, with images laid out as batch x height x width x features."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts, converts_to
from ...model.traits import Traits


class AffineTransformMatrix(nn.Module):
    """Makes 2x3 matrices of the parameters of a transformation: angle, scale, translation, those that are used.

    Args:
        rotation, scale, translation: are they used? None of them: the six numbers are the matrix.
    """

    def __init__(self, rotation: bool = False, scale: bool = False, translation: bool = False) -> None:
        super().__init__()
        self.rotation = rotation
        self.scale = scale
        self.translation = translation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.rotation or self.scale or self.translation):
            return x.reshape(*x.shape[:-1], 2, 3)
        used = (1 if self.rotation else 0) + (1 if self.scale else 0)
        if self.rotation:
            cosine, sine = x[..., 0].cos(), x[..., 0].sin()
            a, b, c, d = cosine, -sine, sine, cosine
        else:
            zero, one = torch.zeros_like(x[..., 0]), torch.ones_like(x[..., 0])
            a, b, c, d = one, zero, zero, one
        if self.scale:
            factor = x[..., used - 1]
            a, b, c, d = a * factor, b * factor, c * factor, d * factor
        if self.translation:
            first, second = x[..., used], x[..., used + 1]
            e, f = a * first + b * second, c * first + d * second
        else:
            e = f = torch.zeros_like(x[..., 0])
        return torch.stack([torch.stack([a, b, e], -1), torch.stack([c, d, f], -1)], -2)

    def extra_repr(self) -> str:
        return f"rotation={self.rotation}, scale={self.scale}, translation={self.translation}"


@converts("nn.AffineTransformMatrixGenerator", traits=Traits(reuses="nothing"))
def affine_transform_matrix_generator(layer: Layer) -> AffineTransformMatrix:
    """nn.AffineTransformMatrixGenerator([useRotation], [useScale], [useTranslation])"""
    layer.ignore("rotationOutput", "scaleOutput")
    if layer.flag("fullMode", False):
        layer.ignore("useRotation", "useScale", "useTranslation")
        layer.traits(output="pass")
        return AffineTransformMatrix()
    return AffineTransformMatrix(
        layer.flag("useRotation", False), layer.flag("useScale", False), layer.flag("useTranslation", False)
    )


class AffineGrid(nn.Module):
    """Makes grids of (y, x) coordinates of 2x3 matrices; -1 and 1 are the centres of the outermost pixels."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height = height
        self.width = width
        self.register_buffer("base", torch.empty(height, width, 3))
        self.base: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grid = self.base.reshape(-1, 3) @ x.transpose(-1, -2)
        return grid.reshape(*x.shape[:-2], self.height, self.width, 2)

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}"


@converts("nn.AffineGridGeneratorBHWD")
def affine_grid_generator(layer: Layer) -> AffineGrid:
    """nn.AffineGridGeneratorBHWD(height, width)"""
    layer.ignore("batchGrid")
    module = layer.make(AffineGrid, layer.integer("height"), layer.integer("width"))
    return layer.put(module, "base", layer.tensor("baseGrid").detach(), field="baseGrid")


class BilinearSampler(nn.Module):
    """Samples images (batch x height x width x features) at grids of (y, x); beyond the border they are zero."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        images, grids = x
        if images.dim() == 3:
            return self.forward([images.unsqueeze(0), grids.unsqueeze(0)]).squeeze(0)
        sampled = F.grid_sample(images.permute(0, 3, 1, 2), grids.flip(-1), align_corners=True)
        return sampled.permute(0, 2, 3, 1)


converts_to(BilinearSampler, "nn.BilinearSamplerBHWD")
