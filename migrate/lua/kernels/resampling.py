"""Kernels of upsampling and of padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from ..tensors.engine import Engine, kernel
from ..tensors.handles import TensorHandle, whole
from .convolutions import batched


@kernel("SpatialUpSamplingNearest_updateOutput")
def spatial_nearest(engine: Engine, x: TensorHandle, output: TensorHandle, scale: Any) -> None:
    """SpatialUpSamplingNearest(input, output, scale_factor)."""
    times = whole(scale)
    made = batched(x.value, 4, lambda v: v.repeat_interleave(times, -1).repeat_interleave(times, -2))
    engine.put(output, made)


@kernel("VolumetricUpSamplingNearest_updateOutput")
def volumetric_nearest(engine: Engine, x: TensorHandle, output: TensorHandle, scale: Any) -> None:
    """VolumetricUpSamplingNearest(input, output, scale_factor)."""
    value, times = x.value, whole(scale)
    for axis in (-1, -2, -3):
        value = value.repeat_interleave(times, axis)
    engine.put(output, value)


def _linear(value: torch.Tensor, wanted: Sequence[int]) -> torch.Tensor:
    """Linear interpolation of the last axes, one after the other; Torch7 has its weights in single precision."""
    for axis, extent in enumerate(wanted, value.dim() - len(wanted)):
        last = value.shape[axis] - 1
        step = torch.tensor(last / (extent - 1) if extent > 1 else 0.0, dtype=torch.float32)
        at = torch.arange(extent, dtype=torch.float32) * step
        low = at.long().clamp(max=last)
        part = (at - low).to(value.dtype).reshape(-1, *[1] * (value.dim() - 1 - axis))
        high = (low + 1).clamp(max=last)
        value = value.index_select(axis, low) * (1 - part) + value.index_select(axis, high) * part
    return value


@kernel("SpatialUpSamplingBilinear_updateOutput")
def spatial_bilinear(engine: Engine, x: TensorHandle, output: TensorHandle, height: Any, width: Any) -> None:
    """SpatialUpSamplingBilinear(input, output, outputHeight, outputWidth); corners stay corners."""
    wanted = whole(height), whole(width)
    engine.put(output, _linear(x.value, wanted))


@kernel("VolumetricUpSamplingTrilinear_updateOutput")
def volumetric_trilinear(
    engine: Engine, x: TensorHandle, output: TensorHandle, depth: Any, height: Any, width: Any
) -> None:
    """VolumetricUpSamplingTrilinear(input, output, outputDepth, outputHeight, outputWidth); corners stay corners."""
    wanted = whole(depth), whole(height), whole(width)
    engine.put(output, _linear(x.value, wanted))


@kernel("BilinearSamplerBHWD_updateOutput")
def sampled(engine: Engine, images: TensorHandle, grids: TensorHandle, output: TensorHandle) -> None:
    """BilinearSamplerBHWD(inputImages, grids, output): images B x H x W x D, grids of y and x in [-1, 1]."""
    planes = images.value.permute(0, 3, 1, 2)
    made = F.grid_sample(planes, grids.value.flip(-1), mode="bilinear", padding_mode="zeros", align_corners=True)
    engine.put(output, made.permute(0, 2, 3, 1))


@kernel("SpatialReflectionPadding_updateOutput")
def spatial_reflection(engine: Engine, x: TensorHandle, output: TensorHandle, *pads: Any) -> None:
    """SpatialReflectionPadding(input, output, left, right, top, bottom)."""
    by = [whole(pad) for pad in pads]
    engine.put(output, batched(x.value, 4, lambda v: F.pad(v, by, "reflect")))


@kernel("SpatialReplicationPadding_updateOutput")
def spatial_replication(engine: Engine, x: TensorHandle, output: TensorHandle, *pads: Any) -> None:
    """SpatialReplicationPadding(input, output, left, right, top, bottom)."""
    by = [whole(pad) for pad in pads]
    engine.put(output, batched(x.value, 4, lambda v: F.pad(v, by, "replicate")))


@kernel("VolumetricReplicationPadding_updateOutput")
def volumetric_replication(engine: Engine, x: TensorHandle, output: TensorHandle, *pads: Any) -> None:
    """VolumetricReplicationPadding(input, output, left, right, top, bottom, front, back)."""
    by = [whole(pad) for pad in pads]
    engine.put(output, batched(x.value, 5, lambda v: F.pad(v, by, "replicate")))
