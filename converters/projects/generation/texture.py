"""Layers that projects of texture and image synthesis defined: padding around the edge, noise, colours."""

from __future__ import annotations

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts
from ....model.traits import Traits
from ...images.padding import sides_of


@converts("nn.SpatialCircularPadding", traits=Traits(reads="images"))
def spatial_circular_padding(layer: Layer) -> nn.CircularPad2d:
    """nn.SpatialCircularPadding(padLeft, [padRight], [padTop], [padBottom]), of DmitryUlyanov/texture_nets

    Torch7 forgets the corners in the gradient; here they are in it.
    """
    return nn.CircularPad2d(sides_of(layer))


class NoiseFill(nn.Module):
    """Puts uniform noise from 0 to `factor` in the place of the last `planes` planes."""

    def __init__(self, planes: int, factor: float = 1.0) -> None:
        super().__init__()
        self.planes = planes
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x[:, : x.shape[1] - self.planes]
        replaced = x[:, x.shape[1] - self.planes :]
        noise = torch.rand_like(replaced) * self.factor if self.factor else torch.zeros_like(replaced)
        return torch.cat([kept, noise], 1)

    def extra_repr(self) -> str:
        return f"{self.planes}, factor={self.factor}"


@converts("nn.NoiseFill", traits=Traits(random=True))
def noise_fill(layer: Layer) -> NoiseFill:
    """nn.NoiseFill(num_noise_channels), of DmitryUlyanov/texture_nets

    Noise in evaluation too, unless `mult` is 0. Torch7 passes the gradient of the noise on to the planes that it
    replaced; here it ends.
    """
    made = NoiseFill(layer.integer("num_noise_channels"), layer.number("mult", 1.0))
    layer.traits(random=bool(made.planes and made.factor))
    return made


class GenNoise(nn.Module):
    """Normal noise of deviation `factor` in `planes` planes, of the size of its input otherwise."""

    def __init__(self, planes: int, factor: float = 1.0) -> None:
        super().__init__()
        self.planes = planes
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        planes = x[:, :1].expand(-1, self.planes, *x.shape[2:])
        return torch.randn_like(planes) * self.factor if self.factor else torch.zeros_like(planes)

    def extra_repr(self) -> str:
        return f"{self.planes}, factor={self.factor}"


class NoiseInside(nn.Module):
    """Puts uniform noise from 0 to 1 into planes 4 to 6 of 6, or into all of 3; in the input itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] not in (3, 6):
            raise ValueError(f"texture_nets put noise into images of 3 or 6 planes, not of {x.shape[1]}")
        noise = x[:, 3:] if x.shape[1] == 6 else x
        noise.copy_(torch.rand_like(noise))
        return x


class StillNoise(nn.Module):
    """Zeros in the place of its input, or the noise that was kept.

    Args:
        size: of the noise that was kept; None: zeros.
    """

    noise: torch.Tensor | None

    def __init__(self, size: list[int] | None = None) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("noise", None if size is None else torch.empty(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.zero_() if self.noise is None else self.noise.clone()

    def extra_repr(self) -> str:
        return f"size={self.size}"


@converts("nn.GenNoise", traits=Traits(random=True))
def gen_noise(layer: Layer) -> nn.Module:
    """nn.GenNoise(num_planes), of DmitryUlyanov/texture_nets

    Noise in evaluation too, unless `mult` is 0. The models of March 2016 hold a class of that name without num_planes,
    which writes uniform noise into its input: into all of 3 planes, or, as the notebook of the published stylizations
    has it, into planes 4 to 6 of 6. Its `action` "zero" and "fix" are converted too.
    """
    layer.ignore("sz", "sz_")
    if layer.has("num_planes"):
        made = GenNoise(layer.integer("num_planes"), layer.number("mult", 1.0))
        layer.traits(random=bool(made.planes and made.factor))
        return made
    action = layer.text("action", "rand")
    if action == "fix" and layer.has("fix_value"):
        layer.traits(random=False)
        noise = layer.tensor("fix_value").detach()
        return layer.put(layer.make(StillNoise, list(noise.shape)), "noise", noise, field="fix_value")
    layer.ignore("fix_value")
    layer.traits(output="write", reuses="nothing", keeps_size=True, random=action != "zero")
    if action == "zero":
        return StillNoise()
    layer.note(
        "the file does not say where its noise goes; as in the project's own notebooks, uniform noise takes the place "
        "of planes 4 to 6 of 6 planes, or of all of 3"
    )
    return NoiseInside()


class VGGPixels(nn.Module):
    """Images of -1 to 1 to those of 0 to 255, less the mean pixel of a network from Caffe."""

    mean: torch.Tensor

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.register_buffer("mean", torch.empty(3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.add_(1) if self.inplace else x + 1
        return y.mul_(127.5).sub_(self.mean)

    def extra_repr(self) -> str:
        return f"inplace={self.inplace}"


@converts("nn.VGG_postprocess", traits=Traits(output="write", keeps_size=True))
def vgg_postprocess(layer: Layer) -> VGGPixels:
    """nn.VGG_postprocess(), of junyanz/CycleGAN

    Torch7 changes the input in place, and divides the gradient by 127.5 where it should multiply it; here it is right.
    """
    module = VGGPixels(inplace=True)
    dtype = torch.float64 if layer.text("_type", "") == "torch.DoubleTensor" else torch.float32
    module.mean = torch.tensor([103.939, 116.779, 123.68], dtype=torch.float32).to(dtype).reshape(3, 1, 1)
    return module


class ShiftGrid(nn.Module):
    """Adds the grid of the pixels' places, y and x between -1 and 1, to shifts (2, height, width)."""

    grid: torch.Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height = height
        self.width = width
        self.register_buffer("grid", torch.empty(2, height, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.grid + x

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}"


@converts("nn.AffineGridGeneratorOpticalFlow2D", traits=Traits(keeps_size=True, reuses="nothing"))
def optical_flow_grid(layer: Layer) -> ShiftGrid:
    """nn.AffineGridGeneratorOpticalFlow2D(height, width), of viorik/ConvLSTM

    Takes one flow (2, height, width), without a batch.
    """
    layer.ignore("height", "width")
    grid = layer.tensor("baseGrid").detach()
    return layer.put(layer.make(ShiftGrid, grid.shape[1], grid.shape[2]), "grid", grid, field="baseGrid")
