"""Kernels of poolings, unpoolings and subsampling."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F

from ..tensors.engine import Engine, kernel
from ..tensors.handles import LuaFault, TensorHandle, whole
from .convolutions import batched, sizes, volumes


def _put_places(engine: Engine, indices: TensorHandle, places: torch.Tensor, x: TensorHandle, dims: int) -> None:
    """Keeps where maxima were: places in a plane, counted from 1."""
    engine.put(indices, (places + 1).squeeze(0) if x.value.dim() < dims else places + 1)


def _beyond(
    value: torch.Tensor,
    made: torch.Tensor,
    window: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    fill: float,
) -> torch.Tensor:
    """A pooling that rounds sizes up, with the windows that begin behind the input, which PyTorch leaves out.

    Args:
        value: its input.
        made: what PyTorch gives.
        window: size, step, padding and dilation for each axis.
        fill: what Torch7 gives there.
    """
    axes = len(window[0])
    if any(window[2]):  # Torch7 leaves them out too where there is padding
        return made
    wanted = [
        -(-(size - (dilation * (kernel - 1) + 1)) // step) + 1
        for size, kernel, step, _, dilation in zip(value.shape[-axes:], *window, strict=True)
    ]
    missing = [extent - had for extent, had in zip(wanted, made.shape[-axes:], strict=True)]
    if not any(missing):
        return made
    return F.pad(made, [part for extra in reversed(missing) for part in (0, extra)], value=fill)


@kernel("SpatialMaxPooling_updateOutput")
def spatial_max(engine: Engine, x: TensorHandle, output: TensorHandle, indices: TensorHandle, *numbers: Any) -> None:
    """SpatialMaxPooling(input, output, indices, kW, kH, dW, dH, padW, padH, ceil_mode)."""
    spatial_max_dilated(engine, x, output, indices, *numbers[:6], 1, 1, numbers[6])


@kernel("SpatialDilatedMaxPooling_updateOutput")
def spatial_max_dilated(
    engine: Engine, x: TensorHandle, output: TensorHandle, indices: TensorHandle, *numbers: Any
) -> None:
    """SpatialDilatedMaxPooling(…, kW, kH, dW, dH, padW, padH, dilationW, dilationH, ceil_mode)."""
    kernel_size, step, pad, dilation = (sizes(numbers[at : at + 2]) for at in (0, 2, 4, 6))
    ceil = bool(numbers[8])

    def compute(value: torch.Tensor) -> torch.Tensor:
        made, places = F.max_pool2d_with_indices(value, kernel_size, step, pad, dilation, ceil)
        if ceil:
            window = kernel_size, step, pad, dilation
            made = _beyond(value, made, window, torch.finfo(value.dtype).min)
            places = _beyond(value, places, window, 0)
        _put_places(engine, indices, places, x, 4)
        return made

    engine.put(output, batched(x.value, 4, compute))


@kernel("SpatialAveragePooling_updateOutput")
def spatial_average(engine: Engine, x: TensorHandle, output: TensorHandle, *numbers: Any) -> None:
    """SpatialAveragePooling(input, output, kW, kH, dW, dH, padW, padH, ceil_mode, count_include_pad)."""
    kernel_size, step, pad = (sizes(numbers[at : at + 2]) for at in (0, 2, 4))
    ceil, counts_pad = bool(numbers[6]), bool(numbers[7])

    def compute(value: torch.Tensor) -> torch.Tensor:
        made = F.avg_pool2d(value, kernel_size, step, pad, ceil, counts_pad)
        window = kernel_size, step, pad, (1,) * len(step)
        return _beyond(value, made, window, math.nan) if ceil else made

    engine.put(output, batched(x.value, 4, compute))


@kernel("SpatialAdaptiveMaxPooling_updateOutput")
def spatial_adaptive_max(
    engine: Engine, x: TensorHandle, output: TensorHandle, indices: TensorHandle, width: Any, height: Any
) -> None:
    """SpatialAdaptiveMaxPooling(input, output, indices, owidth, oheight)."""

    def compute(value: torch.Tensor) -> torch.Tensor:
        made, places = F.adaptive_max_pool2d_with_indices(value, (whole(height), whole(width)))
        _put_places(engine, indices, places, x, 4)
        return made

    engine.put(output, batched(x.value, 4, compute))


@kernel("SpatialAdaptiveAveragePooling_updateOutput")
def spatial_adaptive_average(engine: Engine, x: TensorHandle, output: TensorHandle, width: Any, height: Any) -> None:
    """SpatialAdaptiveAveragePooling(input, output, owidth, oheight)."""
    wanted = whole(height), whole(width)
    engine.put(output, batched(x.value, 4, lambda v: F.adaptive_avg_pool2d(v, wanted)))


@kernel("SpatialFractionalMaxPooling_updateOutput")
def spatial_fractional(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    width: Any,
    height: Any,
    pool_width: Any,
    pool_height: Any,
    indices: TensorHandle,
    samples: TensorHandle,
) -> None:
    """SpatialFractionalMaxPooling(input, output, outputW, outputH, poolSizeW, poolSizeH, indices, randomSamples)."""
    pool, wanted = (whole(pool_height), whole(pool_width)), (whole(height), whole(width))

    def compute(value: torch.Tensor) -> torch.Tensor:
        drawn = samples.value.reshape(len(value), value.shape[1], 2).to(value.dtype)
        made, places = F.fractional_max_pool2d_with_indices(value, pool, wanted, _random_samples=drawn)
        _put_places(engine, indices, places, x, 4)
        return made

    engine.put(output, batched(x.value, 4, compute))


@kernel("VolumetricFractionalMaxPooling_updateOutput")
def volumetric_fractional(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    time: Any,
    width: Any,
    height: Any,
    pool_time: Any,
    pool_width: Any,
    pool_height: Any,
    indices: TensorHandle,
    samples: TensorHandle,
) -> None:
    """VolumetricFractionalMaxPooling(input, output, outputT, …, poolSizeT, …, indices, randomSamples)."""
    # what its Lua calls width is the second axis of a volume, here alone
    pool = whole(pool_time), whole(pool_width), whole(pool_height)
    wanted = whole(time), whole(width), whole(height)

    def compute(value: torch.Tensor) -> torch.Tensor:
        drawn = samples.value.reshape(len(value), value.shape[1], 3).to(value.dtype)
        made, places = F.fractional_max_pool3d_with_indices(value, pool, wanted, _random_samples=drawn)
        _put_places(engine, indices, places, x, 5)
        return made

    engine.put(output, batched(x.value, 5, compute))


def _starts(places: torch.Tensor, step: tuple[int, ...], pad: tuple[int, ...]) -> list[torch.Tensor]:
    """Where the windows of a volumetric pooling begin, for each axis."""
    found = []
    for axis in range(3):
        shape = [1] * places.dim()
        shape[axis - 3] = places.shape[axis - 3]
        found.append(torch.arange(places.shape[axis - 3]).reshape(shape) * step[axis] - pad[axis])
    return found


def _packed(
    places: torch.Tensor, extents: tuple[int, ...], step: tuple[int, ...], pad: tuple[int, ...]
) -> torch.Tensor:
    """Places in a volume as Torch7 keeps them: three bytes, the place in the window along time, height and width."""
    _, height, width = extents
    along = places // (height * width), places // width % height, places % width
    offsets = [place - start for place, start in zip(along, _starts(places, step, pad), strict=True)]
    return offsets[0] + (offsets[1] << 8) + (offsets[2] << 16)


@kernel("VolumetricMaxPooling_updateOutput")
def volumetric_max(engine: Engine, x: TensorHandle, output: TensorHandle, indices: TensorHandle, *numbers: Any) -> None:
    """VolumetricMaxPooling(input, output, indices, kT, kW, kH, dT, dW, dH, pT, pW, pH, ceilMode)."""
    volumetric_max_dilated(engine, x, output, indices, *numbers[:9], 1, 1, 1, numbers[9])


@kernel("VolumetricDilatedMaxPooling_updateOutput")
def volumetric_max_dilated(
    engine: Engine, x: TensorHandle, output: TensorHandle, indices: TensorHandle, *numbers: Any
) -> None:
    """VolumetricDilatedMaxPooling(…, kT, kW, kH, dT, …, pT, …, dilationT, dilationW, dilationH, ceilMode)."""
    kernel_size, step, pad, dilation = (volumes(numbers[at : at + 3]) for at in (0, 3, 6, 9))
    ceil = bool(numbers[12])

    def compute(value: torch.Tensor) -> torch.Tensor:
        made, places = F.max_pool3d_with_indices(value, kernel_size, step, pad, dilation, ceil)
        if ceil:
            window = kernel_size, step, pad, dilation
            made = _beyond(value, made, window, torch.finfo(value.dtype).min)
            places = _beyond(value, places, window, 0)
        packed = _packed(places, value.shape[-3:], step, pad)
        engine.put(indices, packed.squeeze(0) if x.value.dim() < 5 else packed)
        return made

    engine.put(output, batched(x.value, 5, compute))


@kernel("VolumetricAveragePooling_updateOutput")
def volumetric_average(engine: Engine, x: TensorHandle, output: TensorHandle, *numbers: Any) -> None:
    """VolumetricAveragePooling(input, output, kT, kW, kH, dT, …, padT, …, ceil_mode, count_include_pad)."""
    kernel_size, step, pad = (volumes(numbers[at : at + 3]) for at in (0, 3, 6))
    ceil, counts_pad = bool(numbers[9]), bool(numbers[10])

    def compute(value: torch.Tensor) -> torch.Tensor:
        made = F.avg_pool3d(value, kernel_size, step, pad, ceil, counts_pad)
        window = kernel_size, step, pad, (1,) * len(step)
        return _beyond(value, made, window, math.nan) if ceil else made

    engine.put(output, batched(x.value, 5, compute))


@kernel("TemporalMaxPooling_updateOutput")
def temporal_max(
    engine: Engine, x: TensorHandle, output: TensorHandle, indices: TensorHandle, width: Any, step: Any
) -> None:
    """TemporalMaxPooling(input, output, indices, kW, dW); frames come first."""

    def compute(value: torch.Tensor) -> torch.Tensor:
        pool = F.max_pool1d_with_indices
        made, places = pool(value.transpose(1, 2), [whole(width)], [whole(step)])
        _put_places(engine, indices, places.transpose(1, 2), x, 3)
        return made.transpose(1, 2)

    engine.put(output, batched(x.value, 3, compute))


def _unpooled(value: torch.Tensor, places: torch.Tensor, wanted: tuple[int, ...]) -> torch.Tensor:
    """Each number at its place in planes of zeros."""
    planes = value.shape[: value.dim() - len(wanted)]
    places, count = places.reshape(*planes, -1), math.prod(wanted)
    if bool(((places < 0) | (places >= count)).any()):
        raise LuaFault("found an invalid max index")
    made = value.new_zeros(*planes, count)
    return made.scatter(-1, places, value.reshape(*planes, -1)).reshape(*planes, *wanted)


@kernel("SpatialMaxUnpooling_updateOutput")
def spatial_unpooling(
    engine: Engine, x: TensorHandle, output: TensorHandle, indices: TensorHandle, width: Any, height: Any
) -> None:
    """SpatialMaxUnpooling(input, output, indices, owidth, oheight)."""
    engine.put(output, _unpooled(x.value, indices.value - 1, (whole(height), whole(width))))


@kernel("VolumetricMaxUnpooling_updateOutput")
def volumetric_unpooling(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    indices: TensorHandle,
    time: Any,
    width: Any,
    height: Any,
    *numbers: Any,
) -> None:
    """VolumetricMaxUnpooling(input, output, indices, oT, oW, oH, dT, dW, dH, pT, pW, pH)."""
    wanted, packed = volumes((time, width, height)), indices.value
    starts = _starts(packed, volumes(numbers[:3]), volumes(numbers[3:6]))
    places = torch.zeros_like(packed)
    for axis, extent in enumerate(wanted):
        places = places * extent + starts[axis] + (packed >> (8 * axis)) % 256
    engine.put(output, _unpooled(x.value, places, wanted))


@kernel("SpatialSubSampling_updateOutput")
def spatial_subsampling(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    *numbers: Any,
) -> None:
    """SpatialSubSampling(input, output, weight, bias, kW, kH, dW, dH): sums of windows, scaled for each plane."""
    kernel_size, step = sizes(numbers[:2]), sizes(numbers[2:4])

    def compute(value: torch.Tensor) -> torch.Tensor:
        total = F.avg_pool2d(value, kernel_size, step, divisor_override=1)
        return total * weight.value.reshape(-1, 1, 1) + bias.value.reshape(-1, 1, 1)

    engine.put(output, batched(x.value, 4, compute))


@kernel("TemporalSubSampling_updateOutput")
def temporal_subsampling(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    width: Any,
    step: Any,
    _features: Any,
) -> None:
    """TemporalSubSampling(input, output, weight, bias, kW, dW, inputFrameSize): sums of windows of frames, scaled."""

    def compute(value: torch.Tensor) -> torch.Tensor:
        total = value.unfold(1, whole(width), whole(step)).sum(-1)
        return total * weight.value + bias.value

    engine.put(output, batched(x.value, 3, compute))


@kernel("FeatureLPPooling_updateOutput")
def feature_lp(
    engine: Engine, x: TensorHandle, output: TensorHandle, power: float, width: Any, step: Any, batch_mode: Any
) -> None:
    """FeatureLPPooling(input, output, power, width, stride, batchMode): over neighbouring features."""
    axis = 1 if batch_mode else 0
    windows = x.value.unfold(axis, whole(width), whole(step))
    engine.put(output, windows.pow(power).sum(-1).pow(1.0 / power))
