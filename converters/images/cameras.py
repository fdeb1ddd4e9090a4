"""Points in space and a camera, of ankurhanda/gvnn; grids are laid out as batch x height x width x coordinates."""

from __future__ import annotations

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, converts_to
from ...model.traits import Traits


class CameraRays(nn.Module):
    """The rays of the pixels of a pinhole camera: points (height, width, 3) at depth 1."""

    rays: torch.Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height = height
        self.width = width
        self.register_buffer("rays", torch.empty(height, width, 3))

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}"


class RotatedRays(CameraRays):
    """The rays of a camera turned by 3x3 matrices (B, 3, 3) or (3, 3)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        points = self.rays.reshape(-1, 3) @ x.transpose(-1, -2)
        return points.reshape(*x.shape[:-2], self.height, self.width, 3)


class PointsOfDepth(CameraRays):
    """The points that a camera saw at depths (B, height, width)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, self.height, self.width, 1) * self.rays


class MovedPoints(CameraRays):
    """The points that a camera saw, moved by 3x4 matrices, of [matrices (B, 3, 4), depths (B, height, width)]."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        matrices, depths = x
        points = depths.reshape(-1, self.height * self.width, 1) * self.rays.reshape(-1, 3)
        moved = points @ matrices[..., :3].transpose(-1, -2) + matrices[..., 3].unsqueeze(1)
        return moved.reshape(-1, self.height, self.width, 3)


def of_rays(layer: Layer, kind: type[CameraRays]) -> nn.Module:
    """A module with the rays that the layer's grid holds, of which the constructor's fx, fy, u0, v0 are part."""
    layer.ignore("fx", "fy", "u0", "v0", "scale", "batchGrid", "deriv")
    module = layer.make(kind, layer.integer("height"), layer.integer("width"))
    return layer.put(module, "rays", layer.tensor("baseGrid").detach()[..., :3], field="baseGrid")


@converts("nn.Transform3DPoints_R")
def transform_3d_points_r(layer: Layer) -> nn.Module:
    """nn.Transform3DPoints_R(height, width, fx, fy, u0, v0), of ankurhanda/gvnn

    Takes rotations (B, 3, 3) and turns the ray of each pixel.
    """
    return of_rays(layer, RotatedRays)


@converts("nn.Transform3DPoints_Rt", traits=Traits(reuses="nothing"))
def transform_3d_points_rt(layer: Layer) -> nn.Module:
    """nn.Transform3DPoints_Rt(height, width, fx, fy, u0, v0), of ankurhanda/gvnn

    Takes {matrices (B, 3, 4), depths (B, height, width)}.
    """
    layer.ignore("points3D")
    return of_rays(layer, MovedPoints)


@converts("nn.Transform3DPoints_depth")
def transform_3d_points_depth(layer: Layer) -> nn.Module:
    """nn.Transform3DPoints_depth(height, width, fx, fy, u0, v0), of ankurhanda/gvnn

    Takes depths (B, height, width).
    """
    if layer.tensor("points3D").shape[0] > 1:
        layer.note("of a batch of one, Torch7 goes on giving the other samples of the batch before; here it gives one")
    return of_rays(layer, PointsOfDepth)


class PinholeProjection(nn.Module):
    """Projects points (B, H, W, 3) onto an image: focal length times x / z plus the centre, likewise y.

    Args:
        focal, centre: of x and y; -1 and 1 are the outermost pixels.
        epsilon: added to z.
    """

    def __init__(self, focal: tuple[float, float], centre: tuple[float, float], epsilon: float) -> None:
        super().__init__()
        self.focal = focal
        self.centre = centre
        self.epsilon = epsilon

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        x, y, z = points.unbind(-1)
        z = z + self.epsilon
        return torch.stack([x / z * self.focal[0] + self.centre[0], y / z * self.focal[1] + self.centre[1]], -1)

    def extra_repr(self) -> str:
        return f"focal={self.focal}, centre={self.centre}, epsilon={self.epsilon}"


@converts("nn.PinHoleCameraProjectionBHWD")
def pin_hole_camera_projection(layer: Layer) -> PinholeProjection:
    """nn.PinHoleCameraProjectionBHWD(height, width, fx, fy, u0, v0), of ankurhanda/gvnn

    The coordinates come as (x, y); nn.ReverseXYOrder makes them those of nn.BilinearSamplerBHWD.
    """
    layer.ignore("height", "width")
    focal, centre = (layer.number("fx"), layer.number("fy")), (layer.number("u0"), layer.number("v0"))
    return PinholeProjection(focal, centre, layer.number("epsilon"))


class SwapCoordinates(nn.Module):
    """Grids (B, H, W, 2) with their two coordinates in the other order."""

    def forward(self, grid: torch.Tensor) -> torch.Tensor:
        x, y = grid.unbind(-1)
        return torch.stack([y, x], -1)


converts_to(
    SwapCoordinates,
    "nn.ReverseXYOrder",
    project="ankurhanda/gvnn",
    traits=Traits(keeps_size=True, safe_on_own_output=False),
)
