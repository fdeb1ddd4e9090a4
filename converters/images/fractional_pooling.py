"""Max pooling over windows at pseudorandom places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...onnx.operators.stand_ins import StandIn


class FractionalMaxPool(nn.Module):
    """Fractional max pooling, whose windows follow from random samples: one per plane and axis.

    Args:
        kernel_size: of each axis: (depth,) height, width.
        output_size: of each axis; None: it follows from `ratio`.
        ratio: output by input size of each axis; None: it follows from `output_size`.
        samples_size: sizes of the samples that the file gives, planes of each item; None: it gives none.
        fixed: use these samples again and again (they are drawn anew where the input has other sizes).
    """

    def __init__(
        self,
        kernel_size: Sequence[int],
        output_size: Sequence[int] | None = None,
        ratio: Sequence[float] | None = None,
        samples_size: Sequence[int] | None = None,
        fixed: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = tuple(kernel_size)
        self.output_size = output_size
        self.ratio = ratio
        self.samples_size = samples_size
        self.fixed = fixed
        self.register_buffer("samples", None if samples_size is None else torch.empty(list(samples_size)))
        self.samples: torch.Tensor | None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = len(self.kernel_size)
        batch = x if x.dim() == axes + 2 else x.unsqueeze(0)
        size = [batch.shape[0], batch.shape[1], axes]
        kept = self.samples if self.fixed else None
        again = kept is None or list(kept.shape) != size
        samples = torch.rand(size, dtype=x.dtype, device=x.device) if again else kept
        pool = F.fractional_max_pool2d if axes == 2 else F.fractional_max_pool3d
        ratio = self.ratio or ()
        output = self.output_size or [math.floor(n * r) for n, r in zip(batch.shape[2:], ratio, strict=True)]
        y = pool(batch, list(self.kernel_size), list(output), None, False, samples)
        return y if x.dim() == axes + 2 else y.squeeze(0)

    def extra_repr(self) -> str:
        size = f"ratio={self.ratio}" if self.output_size is None else f"output_size={self.output_size}"
        return f"kernel_size={self.kernel_size}, {size}, fixed={self.fixed}"


@module_form("onnx", FractionalMaxPool)
class OnnxFractionalMaxPool(StandIn, FractionalMaxPool):
    """As `FractionalMaxPool` with fixed regions: their cells are gathered, then pooled."""

    values: torch.Tensor | None

    @classmethod
    def put(cls, module: FractionalMaxPool) -> None:
        super().put(module)
        module.__dict__["values"] = module.samples  # a constant of the graph

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = len(self.kernel_size)
        batch = x if x.dim() == axes + 2 else x.unsqueeze(0)
        if not self.fixed or self.values is None or self.values.shape[1:] != (batch.shape[1], axes):
            raise ValueError("its pooling regions are drawn anew at each run, and so no two runs agree")
        if self.values.shape[0] != batch.shape[0]:
            raise ValueError(f"its fixed pooling regions are those of a batch of {self.values.shape[0]}")
        y = batch
        for axis, kernel in enumerate(self.kernel_size):
            starts = self.starts(axis, batch.shape[2 + axis])
            cells = (starts.unsqueeze(-1) + torch.arange(kernel)).flatten(2)
            shape = [1] * y.dim()
            shape[:2], shape[2 + axis] = list(cells.shape[:2]), cells.shape[2]
            size = list(y.shape)
            size[2 + axis] = cells.shape[2]
            y = y.gather(2 + axis, cells.reshape(shape).expand(size))
        pool = F.max_pool2d if axes == 2 else F.max_pool3d
        y = pool(y, list(self.kernel_size), list(self.kernel_size))
        return y if x.dim() == axes + 2 else y.squeeze(0)

    def starts(self, axis: int, size: int) -> torch.Tensor:
        """Where the windows along an axis begin: (N, planes, windows)."""
        assert self.values is not None
        kernel = self.kernel_size[axis]
        count = self.output_size[axis] if self.output_size else int(size * (self.ratio or ())[axis])
        column = 1 - axis if len(self.kernel_size) == 2 else axis  # an image's stand in the order width, height
        sample = self.values[..., column].unsqueeze(-1)
        if count == 1:
            return torch.full((*sample.shape[:-1], 1), size - kernel)
        step = (size - kernel) / torch.tensor(count - 1, dtype=sample.dtype)
        starts = ((torch.arange(count - 1) + sample) * step).trunc() - (sample * step).trunc()
        last = torch.full_like(sample, size - kernel)
        return torch.cat([starts, last], -1).long()


def _fractional(layer: Layer, axes: tuple[str, ...]) -> FractionalMaxPool:
    layer.ignore("indices")
    kernel = [layer.integer(f"poolSize{axis}") for axis in axes]
    by_ratio = layer.has("ratioW")
    fixed = layer.flag("newRandomPool", False)
    samples = layer.tensor("randomSamples") if layer.has("randomSamples") and fixed else None
    if fixed and samples is None:
        layer.note("its pooling regions are fixed, but the file has none; new ones are drawn each time")
    module = layer.make(
        FractionalMaxPool,
        kernel,
        None if by_ratio else [layer.integer(f"out{axis}") for axis in axes],
        [layer.number(f"ratio{axis}") for axis in axes] if by_ratio else None,
        None if samples is None else list(samples.shape),
        fixed=fixed,
    )
    layer.traits(random=samples is None)
    if samples is not None:
        ordered = samples.detach().flip(-1) if len(axes) == 3 else samples.detach()
        layer.put(module, "samples", ordered, field="randomSamples")
    return module


@converts("nn.SpatialFractionalMaxPooling", traits=Traits(reads="images", picture="pooling"))
def spatial_fractional_max_pooling(layer: Layer) -> FractionalMaxPool:
    """nn.SpatialFractionalMaxPooling(poolSizeW, poolSizeH, outW or ratioW, outH or ratioH)

    After fixPoolingRegions() the saved samples are used again; else new ones are drawn each time.
    """
    return _fractional(layer, ("H", "W"))


@converts("nn.VolumetricFractionalMaxPooling", traits=Traits(reads="volumes", picture="pooling"))
def volumetric_fractional_max_pooling(layer: Layer) -> FractionalMaxPool:
    """nn.VolumetricFractionalMaxPooling(poolSizeT, poolSizeW, poolSizeH, outT, outW, outH or ratioT, ratioW, ratioH)

    After fixPoolingRegions() the saved samples are used again; else new ones are drawn each time.
    """
    # Torch7 has time as the last axis here, and its samples in the order time, width, height
    return _fractional(layer, ("H", "W", "T"))
