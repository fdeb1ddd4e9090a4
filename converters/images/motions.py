"""Rotations, and displacements of grids, of ankurhanda/gvnn; grids are laid out as batch x height x width x (x, y)."""

from __future__ import annotations

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits


class DisplacedGrid(nn.Module):
    """A grid of (x, y, 1) between -1 and 1, (height, width, 3), which parameters of each pixel displace."""

    grid: torch.Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height = height
        self.width = width
        self.register_buffer("grid", torch.empty(height, width, 3))

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}"


class AffineGrid(DisplacedGrid):
    """Moves each pixel by an affine map of its own, (B, H, W, 6): the rows of a 2x3 matrix."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([(x[..., :3] * self.grid).sum(-1), (x[..., 3:] * self.grid).sum(-1)], -1)


class RotatedGrid(DisplacedGrid):
    """Turns and moves each pixel on its own: (B, H, W, 3), an angle and a translation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        angle, right, down = x.unbind(-1)
        sine, cosine = torch.sin(angle), torch.cos(angle)
        across, along = self.grid[..., 0], self.grid[..., 1]
        return torch.stack([across * cosine - along * sine + right, across * sine + along * cosine + down], -1)


class SlantedGrid(DisplacedGrid):
    """The disparity of each pixel on a plane of its own, (B, H, W, 3); the grid counts (y, x, 1) here."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.grid).sum(-1, keepdim=True)


class ShiftedGrid(nn.Module):
    """A grid (height, width, 2) plus the displacement of each pixel: (B, H, W, 2), or (B, H, W, 1) along x alone."""

    grid: torch.Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height = height
        self.width = width
        self.register_buffer("grid", torch.empty(height, width, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] == 1:
            x = torch.cat([x, torch.zeros_like(x)], -1)
        return self.grid + x

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}"


def of_grid(layer: Layer, kind: type[DisplacedGrid | ShiftedGrid]) -> nn.Module:
    """A module with the grid that the layer keeps; `batchGrid` repeats it."""
    layer.ignore("batchGrid")
    module = layer.make(kind, layer.integer("height"), layer.integer("width"))
    return layer.put(module, "grid", layer.tensor("baseGrid").detach(), field="baseGrid")


@converts("nn.DenseAffineOpticFlowBHWD")
def dense_affine_optic_flow(layer: Layer) -> nn.Module:
    """nn.DenseAffineOpticFlowBHWD(height, width), of ankurhanda/gvnn

    Takes (B, height, width, 6), a 2x3 matrix for each pixel; gives where it moves the pixel of a regular grid.
    """
    return of_grid(layer, AffineGrid)


@converts("nn.NonRigidSE2BHWD")
def non_rigid_se2(layer: Layer) -> nn.Module:
    """nn.NonRigidSE2BHWD(height, width), of ankurhanda/gvnn

    Takes (B, height, width, 3), an angle and a translation for each pixel of a regular grid.
    """
    return of_grid(layer, RotatedGrid)


@converts("nn.SlantedPlaneDisparityBHWD")
def slanted_plane_disparity(layer: Layer) -> nn.Module:
    """nn.SlantedPlaneDisparityBHWD(height, width), of ankurhanda/gvnn

    Takes (B, height, width, 3), a plane for each pixel; gives its disparity. Torch7's backward pass has an error.
    """
    return of_grid(layer, SlantedGrid)


@converts("nn.Disparity1DBHWD", "nn.OpticalFlow2DBHWD")
def shifted_grid(layer: Layer) -> nn.Module:
    """nn.Disparity1DBHWD(height, width) and nn.OpticalFlow2DBHWD(height, width), of ankurhanda/gvnn

    A regular grid plus the displacement of each pixel, along x alone (…, 1) or along both axes (…, 2).
    """
    if layer.typename == "nn.OpticalFlow2DBHWD":
        layer.traits(reuses="nothing")
    return of_grid(layer, ShiftedGrid)


def rotation_matrices(vectors: torch.Tensor, threshold: float) -> torch.Tensor:
    """Rotations (…, 3, 3) about vectors (…, 3), by their length; squared lengths up to the threshold count as small."""
    x, y, z = vectors.unbind(-1)
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], -1).reshape(*x.shape, 3, 3)
    square = vectors.square().sum(-1)[..., None, None]
    small = square <= threshold
    square = torch.where(small, 1, square)
    angle = square.sqrt()
    once = torch.where(small, 1, torch.sin(angle) / angle)
    twice = torch.where(small, 0, (1 - torch.cos(angle)) / square)
    return torch.eye(3, dtype=x.dtype, device=x.device) + once * cross + twice * (cross @ cross)


def euler_matrices(angles: torch.Tensor) -> torch.Tensor:
    """Rotations (…, 3, 3) by three angles (…, 3): about the third axis, the second, the first."""
    (c1, c2, c3), (s1, s2, s3) = torch.cos(angles).unbind(-1), torch.sin(angles).unbind(-1)
    none, one = torch.zeros_like(c1), torch.ones_like(c1)
    third = torch.stack([c1, s1, none, -s1, c1, none, none, none, one], -1).reshape(*c1.shape, 3, 3)
    second = torch.stack([c2, none, -s2, none, one, none, s2, none, c2], -1).reshape(*c1.shape, 3, 3)
    first = torch.stack([one, none, none, none, c3, s3, none, -s3, c3], -1).reshape(*c1.shape, 3, 3)
    product: torch.Tensor = third @ second @ first
    return product


class RotationMatrices(nn.Module):
    """Rotations (…, 3, 3) about vectors (…, 3).

    Args:
        threshold: vectors of a squared length up to this give nearly no rotation; below 0, a vector of zeros gives NaN.
    """

    def __init__(self, threshold: float = -1.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return rotation_matrices(x, self.threshold)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"


@converts("nn.TransformationRotationSO3")
def transformation_rotation(layer: Layer) -> RotationMatrices:
    """nn.TransformationRotationSO3(), of ankurhanda/gvnn

    Takes vectors (B, 3) or (3) to rotate about, by their length; gives 3x3 matrices. Torch7 prints gradients too.
    """
    layer.ignore("rotationOutput", "scaleOutput")
    return RotationMatrices(layer.number("threshold"))


@converts("nn.NonRigidRotationSO3")
def non_rigid_rotation(layer: Layer) -> RotationMatrices:
    """nn.NonRigidRotationSO3(), of ankurhanda/gvnn

    Takes (B, H, W, 3), a vector for each pixel; gives 3x3 matrices. As in Torch7 a vector of zeros gives NaN.
    """
    layer.ignore("rotationOutput", "threshold")
    return RotationMatrices()


class PixelMotions(nn.Module):
    """3x4 matrices [R | t] of (…, 6): a vector to rotate about, and a translation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([rotation_matrices(x[..., :3], -1.0), x[..., 3:6].unsqueeze(-1)], -1)


@converts("nn.NonRigidPerPixelSE3")
def non_rigid_per_pixel(layer: Layer) -> PixelMotions:
    """nn.NonRigidPerPixelSE3(), of ankurhanda/gvnn

    Takes (B, H, W, 6), a rotation and a translation for each pixel. As in Torch7 a rotation of zeros gives NaN.
    """
    layer.ignore("rotationOutput", "threshold")
    return PixelMotions()


class MotionMatrices(nn.Module):
    """3x4 matrices [R | R t] of (B, 3) or (B, 6): a rotation, a translation, or both.

    Args:
        rotates: are there three numbers for a rotation?
        translates: are there three numbers for a translation?
        euler: is the rotation given by three angles, rather than by a vector to rotate about?
        threshold: vectors of a squared length up to this give nearly no rotation.
    """

    def __init__(self, rotates: bool, translates: bool, euler: bool, threshold: float = 1e-12) -> None:
        super().__init__()
        self.rotates = rotates
        self.translates = translates
        self.euler = euler
        self.threshold = threshold

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.rotates:
            rotation = torch.eye(3, dtype=x.dtype, device=x.device).expand(x.shape[0], 3, 3)
        elif self.euler:
            rotation = euler_matrices(x[:, :3])
        else:
            rotation = rotation_matrices(x[:, :3], self.threshold)
        translation = x[:, -3:].unsqueeze(-1)
        moved = rotation @ translation if self.translates else torch.zeros_like(translation)
        return torch.cat([rotation, moved], -1)

    def extra_repr(self) -> str:
        return f"rotates={self.rotates}, translates={self.translates}, euler={self.euler}, threshold={self.threshold}"


@converts("nn.TransformationMatrix3x4SO3", "nn.TransformationMatrix3x4Euler", traits=Traits(reads="numbers"))
def transformation_matrix(layer: Layer) -> nn.Module:
    """nn.TransformationMatrix3x4SO3(useRotation, useScale, useTranslation), of ankurhanda/gvnn

    Takes (B, 3) or (B, 6): a vector to rotate about, or three angles for nn.TransformationMatrix3x4Euler, and a
    translation, which is rotated too. With useScale Torch7's own code fails. Without any, twelve numbers are a matrix.
    """
    layer.ignore("rotationOutput", "scaleOutput")
    euler = layer.typename == "nn.TransformationMatrix3x4Euler"
    if layer.flag("fullMode"):
        if euler:
            layer.refuse("without rotation, scale and translation Torch7's own code fails: it views 7 numbers as 12")
        layer.ignore("threshold")
        layer.traits(output="pass", keeps_numbers=True)
        return nn.Unflatten(1, (3, 4))
    if layer.flag("useScale", default=False):
        layer.refuse("with useScale Torch7's own code fails: it reads a variable that nobody sets")
    rotates, translates = layer.flag("useRotation", default=False), layer.flag("useTranslation", default=False)
    return MotionMatrices(rotates, translates, euler, 0.0 if euler else layer.number("threshold"))
