"""Kernels of convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from ..tensors.engine import Engine, kernel
from ..tensors.handles import LuaFault, TensorHandle, whole


def batched(value: torch.Tensor, dims: int, compute: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Computes on a batch, or on one sample as on a batch of one.

    Args:
        value: the input.
        dims: how many dimensions a batch has.
        compute: what is done with a batch.
    """
    if value.dim() == dims:
        return compute(value)
    if value.dim() == dims - 1:
        return compute(value.unsqueeze(0)).squeeze(0)
    raise LuaFault(f"{dims - 1}D or {dims}D (batch mode) tensor expected for input")


def sizes(values: Sequence[Any]) -> tuple[int, ...]:
    """Whole numbers, which Torch7 lists from the width on, as PyTorch lists them: the height first."""
    return tuple(whole(value) for value in reversed(values))


def _bias(bias: TensorHandle | None) -> torch.Tensor | None:
    return None if bias is None else bias.value


@kernel("SpatialConvolutionMM_updateOutput")
def spatial(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle | None,
    _finput: Any,
    _fgrad_input: Any,
    *numbers: Any,
) -> None:
    """SpatialConvolutionMM(input, output, weight, bias, finput, fgradInput, kW, kH, dW, dH, padW, padH)."""
    dilated(engine, x, output, weight, bias, _finput, _fgrad_input, *numbers, 1, 1)


@kernel("SpatialDilatedConvolution_updateOutput")
def dilated(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle | None,
    _columns: Any,
    _ones: Any,
    *numbers: Any,
) -> None:
    """SpatialDilatedConvolution(…, kW, kH, dW, dH, padW, padH, dilationW, dilationH); a 2-D weight is a flat one."""
    kernel_size, step, pad, dilation = (sizes(numbers[at : at + 2]) for at in (0, 2, 4, 6))
    kernels = weight.value.reshape(weight.value.shape[0], -1, *kernel_size)
    made = batched(x.value, 4, lambda v: F.conv2d(v, kernels, _bias(bias), step, pad, dilation))
    engine.put(output, made)


@kernel("SpatialDepthWiseConvolution_updateOutput")
def depth_wise(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle | None,
    _finput: Any,
    _fgrad_input: Any,
    *numbers: Any,
) -> None:
    """SpatialDepthWiseConvolution(…): a weight of multiplier x planes x kH x kW; outputs of a plane come together."""
    kernel_size, step, pad = (sizes(numbers[at : at + 2]) for at in (0, 2, 4))
    multiplier = weight.value.shape[0]
    kernels = weight.value.reshape(multiplier, -1, *kernel_size).transpose(0, 1)
    planes = len(kernels)
    flat = kernels.reshape(multiplier * planes, 1, *kernel_size)
    added = None if bias is None else bias.value.reshape(multiplier, planes).t().reshape(-1)
    engine.put(output, batched(x.value, 4, lambda v: F.conv2d(v, flat, added, step, pad, 1, planes)))


@kernel("SpatialConvolutionLocal_updateOutput")
def local(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    _finput: Any,
    _fgrad_input: Any,
    *numbers: Any,
) -> None:
    """SpatialConvolutionLocal(…, kW, kH, dW, dH, padW, padH, iW, iH, oW, oH): kernels of its own at every place."""
    kernel_size, step, pad = (sizes(numbers[at : at + 2]) for at in (0, 2, 4))
    height, width = sizes(numbers[8:10])

    def compute(value: torch.Tensor) -> torch.Tensor:
        patches = F.unfold(value, kernel_size, 1, pad, step).transpose(1, 2)  # batch, places, numbers of a patch
        planes = bias.value.shape[0]
        kernels = weight.value.reshape(height * width, planes, patches.shape[2])
        made = torch.einsum("bln,lpn->bpl", patches, kernels)
        return made.reshape(len(value), planes, height, width) + bias.value

    engine.put(output, batched(x.value, 4, compute))


@kernel("SpatialFullConvolution_updateOutput")
def full(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle | None,
    _columns: Any,
    _ones: Any,
    *numbers: Any,
) -> None:
    """SpatialFullConvolution(…, kW, kH, dW, dH, padW, padH, adjW, adjH)."""
    step, pad, extra = (sizes(numbers[at : at + 2]) for at in (2, 4, 6))
    added = _bias(bias)
    made = batched(x.value, 4, lambda v: F.conv_transpose2d(v, weight.value, added, step, pad, extra))
    engine.put(output, made)


def _connected(table: TensorHandle, weight: TensorHandle, inputs: Any, outputs: Any) -> torch.Tensor:
    """The kernels of a table of connections as those of all pairs: from x to x kH x kW; what is not connected is 0."""
    pairs = table.value.long() - 1
    dense = weight.value.new_zeros(whole(inputs), whole(outputs), *weight.value.shape[1:])
    return dense.index_put((pairs[:, 0], pairs[:, 1]), weight.value, accumulate=True)


@kernel("SpatialConvolutionMap_updateOutput")
def connection_map(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    table: TensorHandle,
    inputs: Any,
    outputs: Any,
    *step: Any,
) -> None:
    """SpatialConvolutionMap(input, output, weight, bias, connTable, nInputPlane, nOutputPlane, dW, dH)."""
    kernels = _connected(table, weight, inputs, outputs).transpose(0, 1)
    planes = whole(inputs)  # more than the table names do not count
    engine.put(output, batched(x.value, 4, lambda v: F.conv2d(v[:, :planes], kernels, bias.value, sizes(step))))


@kernel("SpatialFullConvolutionMap_updateOutput")
def full_connection_map(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    table: TensorHandle,
    inputs: Any,
    outputs: Any,
    *step: Any,
) -> None:
    """SpatialFullConvolutionMap(input, output, weight, bias, connTable, nInputPlane, nOutputPlane, dW, dH)."""
    kernels, planes = _connected(table, weight, inputs, outputs), whole(inputs)

    def compute(value: torch.Tensor) -> torch.Tensor:
        return F.conv_transpose2d(value[:, :planes], kernels, bias.value, sizes(step))

    engine.put(output, batched(x.value, 4, compute))


@kernel("VolumetricConvolution_updateOutput")
def volumetric_steps(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle | None,
    _finput: Any,
    _fgrad_input: Any,
    *numbers: Any,
) -> None:
    """VolumetricConvolution(input, output, weight, bias, finput, fgradInput, dT, dW, dH, padT, padW, padH)."""
    _volumetric(engine, x, output, weight.value, bias, volumes(numbers[:3]), volumes(numbers[3:6]), (1, 1, 1))


@kernel("VolumetricConvolutionMM_updateOutput")
def volumetric(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle | None,
    _finput: Any,
    *numbers: Any,
) -> None:
    """VolumetricConvolutionMM(input, output, weight, bias, finput, kT, kW, kH, dT, dW, dH, pT, pW, pH)."""
    kernel_size, step, pad = (volumes(numbers[at : at + 3]) for at in (0, 3, 6))
    kernels = weight.value.reshape(weight.value.shape[0], -1, *kernel_size)
    _volumetric(engine, x, output, kernels, bias, step, pad, (1, 1, 1))


@kernel("VolumetricDilatedConvolution_updateOutput")
def volumetric_dilated(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle | None,
    _columns: Any,
    _ones: Any,
    *numbers: Any,
) -> None:
    """VolumetricDilatedConvolution(…, kT, kW, kH, dT, dW, dH, padT, padW, padH, dilationT, dilationW, dilationH)."""
    step, pad, dilation = (volumes(numbers[at : at + 3]) for at in (3, 6, 9))
    _volumetric(engine, x, output, weight.value, bias, step, pad, dilation)


def volumes(values: Sequence[Any]) -> tuple[int, ...]:
    """Whole numbers for time, width and height, as PyTorch lists them: time, height, width."""
    time, width, height = (whole(value) for value in values)
    return time, height, width


def _volumetric(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    kernels: torch.Tensor,
    bias: TensorHandle | None,
    step: tuple[int, ...],
    pad: tuple[int, ...],
    dilation: tuple[int, ...],
) -> None:
    added = _bias(bias)
    engine.put(output, batched(x.value, 5, lambda v: F.conv3d(v, kernels, added, step, pad, dilation)))


@kernel("VolumetricFullConvolution_updateOutput")
def volumetric_full(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle | None,
    _finput: Any,
    _fgrad_input: Any,
    *numbers: Any,
) -> None:
    """VolumetricFullConvolution(…, dT, dW, dH, pT, pW, pH, aT, aW, aH)."""
    step, pad, extra = (volumes(numbers[at : at + 3]) for at in (0, 3, 6))
    added = _bias(bias)
    made = batched(x.value, 5, lambda v: F.conv_transpose3d(v, weight.value, added, step, pad, extra))
    engine.put(output, made)


@kernel("TemporalConvolution_updateOutput")
def temporal(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    width: Any,
    step: Any,
    inputs: Any,
    outputs: Any,
) -> None:
    """TemporalConvolution(input, output, weight, bias, kW, dW, inputFrameSize, outputFrameSize); frames come first."""
    kernels = weight.value.reshape(whole(outputs), whole(width), whole(inputs)).transpose(1, 2)

    def compute(value: torch.Tensor) -> torch.Tensor:
        return F.conv1d(value.transpose(1, 2), kernels, bias.value, whole(step)).transpose(1, 2)

    engine.put(output, batched(x.value, 3, compute))


@kernel("TemporalRowConvolution_updateOutput")
def temporal_rows(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle | None,
    _finput: Any,
    _fgrad_input: Any,
    width: Any,
    step: Any,
    pad: Any,
    features_first: Any,
) -> None:
    """TemporalRowConvolution(…, kW, dW, padW, featFirst): each feature by itself."""
    features = weight.value.shape[0]
    kernels, added = weight.value.reshape(features, 1, whole(width)), _bias(bias)

    def compute(value: torch.Tensor) -> torch.Tensor:
        value = value if features_first else value.transpose(1, 2)
        made = F.conv1d(value, kernels, added, whole(step), whole(pad), 1, features)
        return made if features_first else made.transpose(1, 2)

    engine.put(output, batched(x.value, 3, compute))
