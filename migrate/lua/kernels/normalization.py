"""Kernels of batch normalization, of tables and of sparse inputs."""

from __future__ import annotations

from typing import Any

import torch

from ..tensors.engine import Engine, kernel
from ..tensors.handles import LuaFault, TensorHandle, whole


@kernel("BatchNormalization_updateOutput")
def batch_normalization(
    engine: Engine,
    x: TensorHandle,
    output: TensorHandle,
    weight: TensorHandle | None,
    bias: TensorHandle | None,
    running_mean: TensorHandle,
    running_var: TensorHandle,
    save_mean: TensorHandle,
    save_std: TensorHandle,
    train: Any,
    momentum: float,
    eps: float,
) -> None:
    """BatchNormalization(input, output, weight, bias, running_mean, running_var, save_mean, save_std, train, …)."""
    value = x.value
    axes = [axis for axis in range(value.dim()) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(value.dim())]
    mean, variance = running_mean.value, running_var.value
    if train:
        mean, variance = value.mean(axes), value.var(axes, unbiased=False)
        count = value.numel() // value.shape[1]
        if count < 2:
            raise LuaFault("a batch of one number for each channel has no variance")
        unbiased = variance * (count / (count - 1))
        running_mean.value.mul_(1 - momentum).add_(mean * momentum)
        running_var.value.mul_(1 - momentum).add_(unbiased * momentum)
        engine.put(save_mean, mean)
        engine.put(save_std, (variance + eps).rsqrt())
    made = (value - mean.reshape(shape)) * (variance + eps).rsqrt().reshape(shape)
    if weight is not None:
        made = made * weight.value.reshape(shape)
    if bias is not None:
        made = made + bias.value.reshape(shape)
    engine.put(output, made)


@kernel("LookupTable_renorm")
def renorm(engine: Engine, rows: TensorHandle, weight: TensorHandle, most: float, norm: float) -> None:
    """LookupTable_renorm(indices, weight, maxNorm, normType): rows that are used get no larger norm."""
    indices = torch.tensor(sorted({int(row) - 1 for row in rows.value.reshape(-1).tolist()}))
    used = weight.value[indices]
    norms = used.abs().pow(norm).sum(1).pow(1.0 / norm)
    factors = torch.where(norms > most, most / (norms + 1e-7), torch.ones_like(norms))
    weight.value[indices] = used * factors.unsqueeze(1)


@kernel("SparseLinear_updateOutput")
def sparse_linear(
    engine: Engine, x: TensorHandle, output: TensorHandle, weight: TensorHandle, bias: TensorHandle
) -> None:
    """SparseLinear(input, output, weight, bias); the input lists sample, column and number, from 1."""
    rows, columns = x.value[:, 0].long() - 1, x.value[:, 1].long() - 1
    _sparse(engine, output, rows, columns, x.value[:, 2], weight, bias)


@kernel("SparseLinear_legacyUpdateOutput")
def sparse_linear_in_batches(
    engine: Engine, x: TensorHandle, output: TensorHandle, weight: TensorHandle, bias: TensorHandle
) -> None:
    """SparseLinear_legacy(input, output, weight, bias); the input lists pairs of column and number for each sample."""
    samples, pairs = x.value.shape[0], x.value.shape[1]
    engine.put(output, x.value.new_zeros(samples, weight.value.shape[0]))
    rows = torch.arange(samples).repeat_interleave(pairs)
    flat = x.value.reshape(-1, 2)
    numbers, columns = flat[:, 1], flat[:, 0].long() - 1
    kept = columns >= 0  # columns below 1 are padding
    _sparse(engine, output, rows[kept], columns[kept], numbers[kept], weight, bias)


def _sparse(
    engine: Engine,
    output: TensorHandle,
    rows: torch.Tensor,
    columns: torch.Tensor,
    numbers: torch.Tensor,
    weight: TensorHandle,
    bias: TensorHandle,
) -> None:
    """The rows of the output, which has its size: sums of columns of the weight, and the bias."""
    kept = numbers != 0
    rows, columns, numbers = rows[kept], columns[kept], numbers[kept]
    if bool(((columns < 0) | (columns >= weight.value.shape[1])).any()):
        raise LuaFault("index out of bound")
    made = torch.zeros_like(output.value)
    made.index_add_(0, rows, weight.value.t()[columns] * numbers.unsqueeze(1))
    engine.put(output, made + bias.value)


@kernel("IndexLinear_updateOutput")
def index_linear(
    engine: Engine,
    keys: TensorHandle,
    offset: Any,
    values: TensorHandle,
    lengths: TensorHandle,
    _sums: Any,
    output: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    _normalized: Any,
    train: Any,
) -> None:
    """IndexLinear(keys, keysOffset, values, sizes, cumSumSizes, output, weight, bias, normalizedValues, train)."""
    rows = torch.arange(lengths.value.numel()).repeat_interleave(lengths.value.reshape(-1).long())
    used = weight.value[keys.value.reshape(-1).long() + whole(offset)]
    extra = weight.value.shape[1] - bias.value.numel()
    given = values.value.reshape(-1, 1)
    if extra:  # columns before the weights: the largest value that was met, its inverse, …, what is added
        if whole(train):
            raise LuaFault("IndexLinear with normalized values is run in evaluation only")
        largest, inverse, added = used[:, 0:1], used[:, 1:2], used[:, 3:4]
        given = torch.where(given.abs() > largest, given.sign(), given * inverse) + added
    made = values.value.new_zeros(lengths.value.numel(), bias.value.numel())
    made.index_add_(0, rows, used[:, extra:] * given)
    engine.put(output, made + bias.value)
