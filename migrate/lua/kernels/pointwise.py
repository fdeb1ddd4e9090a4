"""Kernels of layers that work on each number, or on each slice of one dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from ..tensors.engine import Engine, kernel
from ..tensors.handles import LuaFault, TensorHandle, whole


@kernel("Abs_updateOutput")
def absolute(engine: Engine, x: TensorHandle, output: TensorHandle) -> None:
    """Abs(input, output)."""
    engine.put(output, x.value.abs())


@kernel("Sigmoid_updateOutput")
def sigmoid(engine: Engine, x: TensorHandle, output: TensorHandle) -> None:
    """Sigmoid(input, output)."""
    engine.put(output, torch.sigmoid(x.value))


@kernel("Tanh_updateOutput")
def tanh(engine: Engine, x: TensorHandle, output: TensorHandle) -> None:
    """Tanh(input, output)."""
    engine.put(output, torch.tanh(x.value))


@kernel("Square_updateOutput")
def square(engine: Engine, x: TensorHandle, output: TensorHandle) -> None:
    """Square(input, output)."""
    engine.put(output, x.value * x.value)


@kernel("Sqrt_updateOutput")
def square_root(engine: Engine, x: TensorHandle, output: TensorHandle, _eps: Any = None) -> None:
    """Sqrt(input, output, eps); eps only counts in the backward pass."""
    engine.put(output, torch.sqrt(x.value))


@kernel("LogSigmoid_updateOutput")
def log_sigmoid(engine: Engine, x: TensorHandle, output: TensorHandle, _buffer: Any = None) -> None:
    """LogSigmoid(input, output, buffer)."""
    engine.put(output, F.logsigmoid(x.value))


@kernel("SoftPlus_updateOutput")
def soft_plus(engine: Engine, x: TensorHandle, output: TensorHandle, beta: float, threshold: float) -> None:
    """SoftPlus(input, output, beta, threshold)."""
    engine.put(output, F.softplus(x.value, beta, threshold))


@kernel("SoftShrink_updateOutput")
def soft_shrink(engine: Engine, x: TensorHandle, output: TensorHandle, bound: float) -> None:
    """SoftShrink(input, output, lambda)."""
    value = x.value
    shrunk = torch.where(value > bound, value - bound, torch.where(value < -bound, value + bound, 0.0))
    engine.put(output, shrunk.to(value.dtype))


@kernel("HardShrink_updateOutput")
def hard_shrink(engine: Engine, x: TensorHandle, output: TensorHandle, bound: float) -> None:
    """HardShrink(input, output, lambda)."""
    value = x.value
    engine.put(output, torch.where((value > bound) | (value < -bound), value, torch.zeros_like(value)))


def _in_place(engine: Engine, x: TensorHandle, output: TensorHandle, value: torch.Tensor, inplace: Any) -> None:
    """Writes a result, or, in place, over the input, whose memory the output then shares."""
    if inplace:
        x.value.copy_(value)
        output.value = x.value
    else:
        engine.put(output, value)


@kernel("Threshold_updateOutput")
def threshold(
    engine: Engine, x: TensorHandle, output: TensorHandle, bound: float, value: float, inplace: Any = None
) -> None:
    """Threshold(input, output, threshold, value, inplace)."""
    _in_place(engine, x, output, F.threshold(x.value, bound, value), inplace)


@kernel("HardTanh_updateOutput")
def hard_tanh(
    engine: Engine, x: TensorHandle, output: TensorHandle, low: float, high: float, inplace: Any = None
) -> None:
    """HardTanh(input, output, min, max, inplace)."""
    _in_place(engine, x, output, x.value.clamp(low, high), inplace)


@kernel("LeakyReLU_updateOutput")
def leaky(engine: Engine, x: TensorHandle, output: TensorHandle, slope: float, inplace: Any = None) -> None:
    """LeakyReLU(input, output, slope, inplace)."""
    value = torch.where(x.value > 0, x.value, x.value * slope)
    _in_place(engine, x, output, value, inplace)


@kernel("ELU_updateOutput")
def elu(engine: Engine, x: TensorHandle, output: TensorHandle, alpha: float, inplace: Any = None) -> None:
    """ELU(input, output, alpha, inplace)."""
    value = torch.where(x.value <= 0, (x.value.exp() - 1) * alpha, x.value)
    _in_place(engine, x, output, value, inplace)


@kernel("RReLU_updateOutput")
def random_leaky(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    _noise: Any,
    lower: float,
    upper: float,
    train: Any,
    inplace: Any,
    _generator: Any = None,
) -> None:
    """RReLU(input, output, noise, lower, upper, train, inplace, generator), in evaluation."""
    if train:
        raise LuaFault("RReLU is random in training, which is not run here")
    leaky(engine, x, output, (lower + upper) / 2, inplace)


@kernel("PReLU_updateOutput")
def parametric(engine: Engine, x: TensorHandle, output: TensorHandle, weight: TensorHandle, planes: Any) -> None:
    """PReLU(input, output, weight, planes): one slope, or one for each plane."""
    value, slopes = x.value, weight.value
    if whole(planes):
        axis = min(value.dim() - 1, 1)  # the second dimension holds the planes, of an image without batch as well
        slopes = slopes.reshape([-1 if index == axis else 1 for index in range(value.dim())])
    engine.put(output, torch.where(value > 0, value, value * slopes))


@kernel("GatedLinear_updateOutput")
def gated(engine: Engine, x: TensorHandle, output: TensorHandle, axis: Any) -> None:
    """GatedLinear(input, output, dim): the first half times the sigmoid of the second."""
    first, second = x.value.chunk(2, whole(axis) - 1)
    engine.put(output, first * torch.sigmoid(second))


def _classes(value: torch.Tensor) -> int:
    """The dimension of the classes: the first one of a sample."""
    if value.dim() not in (1, 2, 3, 4):
        raise LuaFault("1D, 2D, 3D or 4D tensor expected")
    return 0 if value.dim() in (1, 3) else 1


@kernel("SoftMax_updateOutput")
def soft_max(engine: Engine, x: TensorHandle, output: TensorHandle) -> None:
    """SoftMax(input, output)."""
    engine.put(output, torch.softmax(x.value, _classes(x.value)))


@kernel("LogSoftMax_updateOutput")
def log_soft_max(engine: Engine, x: TensorHandle, output: TensorHandle) -> None:
    """LogSoftMax(input, output)."""
    engine.put(output, torch.log_softmax(x.value, _classes(x.value)))


@kernel("L1Cost_updateOutput")
def l1_cost(engine: Engine, x: TensorHandle, output: TensorHandle) -> None:
    """L1Cost(input, output)."""
    engine.put(output, x.value.abs().sum())
