"""Kernels of losses."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from ..tensors.engine import Engine, kernel
from ..tensors.handles import LuaFault, TensorHandle, whole


def _put(engine: Engine, output: TensorHandle, losses: torch.Tensor, averaged: Any, count: int | None = None) -> None:
    """The sum of losses, or their mean."""
    total = losses.sum()
    engine.put(output, total / (losses.numel() if count is None else count) if averaged else total)


@kernel("AbsCriterion_updateOutput")
def absolute(engine: Engine, x: TensorHandle, target: TensorHandle, output: TensorHandle, averaged: Any) -> None:
    """AbsCriterion(input, target, output, sizeAverage)."""
    _put(engine, output, (x.value - target.value).abs(), averaged)


@kernel("MSECriterion_updateOutput")
def squared(engine: Engine, x: TensorHandle, target: TensorHandle, output: TensorHandle, averaged: Any) -> None:
    """MSECriterion(input, target, output, sizeAverage)."""
    _put(engine, output, (x.value - target.value) ** 2, averaged)


@kernel("SmoothL1Criterion_updateOutput")
def smooth(engine: Engine, x: TensorHandle, target: TensorHandle, output: TensorHandle, averaged: Any) -> None:
    """SmoothL1Criterion(input, target, output, sizeAverage)."""
    off = (x.value - target.value).abs()
    _put(engine, output, torch.where(off < 1, off * off / 2, off - 0.5), averaged)


@kernel("BCECriterion_updateOutput")
def binary(
    engine: Engine,
    x: TensorHandle,
    target: TensorHandle,
    output: TensorHandle,
    averaged: Any,
    weights: TensorHandle | None = None,
) -> None:
    """BCECriterion(input, target, output, sizeAverage, weights)."""
    eps, p, t = 1e-12, x.value, target.value
    losses = -(torch.log(p + eps) * t + torch.log(1 - p + eps) * (1 - t))
    _put(engine, output, losses if weights is None else losses * weights.value, averaged)


@kernel("DistKLDivCriterion_updateOutput")
def divergence(engine: Engine, x: TensorHandle, target: TensorHandle, output: TensorHandle, averaged: Any) -> None:
    """DistKLDivCriterion(input, target, output, sizeAverage)."""
    t = target.value
    _put(engine, output, torch.where(t > 0, t * (t.log() - x.value), torch.zeros_like(t)), averaged)


@kernel("MarginCriterion_updateOutput")
def margin(
    engine: Engine, x: TensorHandle, target: TensorHandle, output: TensorHandle, averaged: Any, bound: float
) -> None:
    """MarginCriterion(input, target, output, sizeAverage, margin)."""
    _put(engine, output, (bound - x.value * target.value).clamp(min=0), averaged)


@kernel("SoftMarginCriterion_updateOutput")
def soft_margin(engine: Engine, x: TensorHandle, target: TensorHandle, output: TensorHandle, averaged: Any) -> None:
    """SoftMarginCriterion(input, target, output, sizeAverage)."""
    _put(engine, output, torch.log1p(torch.exp(-x.value * target.value)), averaged)


def _weighted(
    engine: Engine,
    x: torch.Tensor,
    target: torch.Tensor,
    output: TensorHandle,
    averaged: Any,
    weights: TensorHandle | None,
    total: TensorHandle,
    ignored: int | None,
) -> None:
    """The loss of log-probabilities, averaged by the weights of the classes; classes are counted from 1."""
    known = torch.ones_like(target, dtype=torch.bool) if ignored is None else target != ignored
    classes = target - 1
    if bool((((classes < 0) | (classes >= x.shape[1])) & known).any()):
        raise LuaFault("a target is no class")
    classes = torch.where(known, classes, 0)
    each = x.new_ones(x.shape[1]) if weights is None else weights.value
    factors = each[classes] * known
    losses = -x.gather(1, classes.unsqueeze(1)).squeeze(1) * factors
    engine.put(total, factors.sum())
    divided = bool(averaged) and bool(factors.sum() != 0)
    engine.put(output, losses.sum() / factors.sum() if divided else losses.sum())


@kernel("ClassNLLCriterion_updateOutput")
def class_nll(
    engine: Engine,
    x: TensorHandle,
    target: TensorHandle,
    output: TensorHandle,
    averaged: Any,
    weights: TensorHandle | None,
    total: TensorHandle,
    ignored: Any = None,
) -> None:
    """ClassNLLCriterion(input, target, output, sizeAverage, weights, total_weight, ignore_index)."""
    value = x.value.unsqueeze(0) if x.value.dim() == 1 else x.value
    classes = target.value.reshape(-1).long()
    left_out = None if ignored is None else whole(ignored)
    _weighted(engine, value, classes, output, averaged, weights, total, left_out)


@kernel("SpatialClassNLLCriterion_updateOutput")
def spatial_class_nll(
    engine: Engine,
    x: TensorHandle,
    target: TensorHandle,
    output: TensorHandle,
    averaged: Any,
    weights: TensorHandle | None,
    total: TensorHandle,
) -> None:
    """SpatialClassNLLCriterion(input, target, output, sizeAverage, weights, total_weight)."""
    _weighted(engine, x.value, target.value.long(), output, averaged, weights, total, None)


@kernel("MultiMarginCriterion_updateOutput")
def multi_margin(
    engine: Engine,
    x: TensorHandle,
    target: TensorHandle,
    output: TensorHandle,
    averaged: Any,
    power: Any,
    weights: TensorHandle | None,
    bound: float,
) -> None:
    """MultiMarginCriterion(input, target, output, sizeAverage, p, weights, margin)."""
    value = x.value.unsqueeze(0) if x.value.dim() == 1 else x.value
    classes = target.value.reshape(-1).long() - 1
    right = value.gather(1, classes.unsqueeze(1))
    losses = (bound - right + value).clamp(min=0) ** whole(power)
    if weights is not None:
        losses = losses * weights.value[classes].unsqueeze(1)
    losses = losses.scatter(1, classes.unsqueeze(1), 0.0) / value.shape[1]
    _put(engine, output, losses, averaged, len(value))


@kernel("MultiLabelMarginCriterion_updateOutput")
def multi_label_margin(
    engine: Engine,
    x: TensorHandle,
    target: TensorHandle,
    output: TensorHandle,
    is_target: TensorHandle,
    averaged: Any,
) -> None:
    """MultiLabelMarginCriterion(input, target, output, isTarget, sizeAverage); classes up to the first 0 count."""
    value = x.value.unsqueeze(0) if x.value.dim() == 1 else x.value
    classes = target.value.reshape(value.shape).long() - 1
    listed = (classes >= 0).long().cumprod(1).bool()
    marks = torch.zeros_like(value)
    for row, places, kept in zip(marks, classes, listed, strict=True):
        row[places[kept]] = 1
    engine.put(is_target, marks.reshape(x.value.shape))
    ended = torch.where(listed, classes, -1)  # as PyTorch lists them: from 0, ended by -1
    _put(engine, output, F.multilabel_margin_loss(value, ended, reduction="none"), averaged)
