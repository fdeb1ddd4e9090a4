"""Criterions for yes-or-no targets, of one label or of many."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional

from ...model.layer import Layer
from ...model.registry import converts
from .regression import CRITERION, AveragingCriterion, MarginLoss, averages, number_of_weights


class BinaryCrossEntropy(torch.autograd.Function):
    """The cross entropy of each element; its gradient is Torch7's, not quite the derivative."""

    @staticmethod
    def forward(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return -(torch.log(x + 1e-12) * target + torch.log(1.0 - x + 1e-12) * (1.0 - target))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, target = ctx.saved_tensors
        return grad * (x - target) / ((1.0 - x + 1e-12) * (x + 1e-12)), None


class LabelCriterion(nn.Module):
    """A criterion of one target, 0 or 1, for each of some labels.

    Args:
        labels: how many weights there are, one for each label; 0: none.
        average: divide by the number of elements.
    """

    weights: torch.Tensor | None

    def __init__(self, labels: int = 0, average: bool = True) -> None:
        super().__init__()
        self.labels = labels
        self.average = average
        self.register_buffer("weights", torch.empty(labels) if labels else None)

    def extra_repr(self) -> str:
        return f"labels={self.labels}, average={self.average}"


_C = TypeVar("_C", bound=LabelCriterion)


def _of_labels(layer: Layer, cls: type[_C]) -> _C:
    return layer.put_all(layer.make(cls, number_of_weights(layer), averages(layer)), "weights")


class BCECriterion(LabelCriterion):
    """Binary cross entropy of probabilities; a wrong answer given with certainty costs 27.6, not infinity."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = BinaryCrossEntropy.apply(x, target.reshape(x.shape))  # type: ignore[no-untyped-call]
        if self.weights is not None:
            loss = loss * self.weights.expand(target.shape).reshape(x.shape)
        return loss.mean() if self.average else loss.sum()


@converts("nn.BCECriterion", traits=CRITERION)
def bce_criterion(layer: Layer) -> BCECriterion:
    """nn.BCECriterion([weights], [sizeAverage = true])"""
    layer.ignore("term1", "term2", "term3")  # buffers of the version written in Lua
    return _of_labels(layer, BCECriterion)


class MultiLabelSoftMarginCriterion(LabelCriterion):
    """Binary cross entropy of scores, which are put through a sigmoid."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        weights = None if self.weights is None else self.weights.expand(target.shape).reshape(x.shape)
        reduction = "mean" if self.average else "sum"
        return functional.binary_cross_entropy_with_logits(x, target.reshape(x.shape), weights, reduction=reduction)


@converts("nn.MultiLabelSoftMarginCriterion", traits=CRITERION)
def multi_label_soft_margin_criterion(layer: Layer) -> MultiLabelSoftMarginCriterion:
    """nn.MultiLabelSoftMarginCriterion([weights], [sizeAverage = true])"""
    layer.ignore("sigmoid", "_buffer1", "_buffer2")
    return _of_labels(layer, MultiLabelSoftMarginCriterion)


class MarginCriterion(MarginLoss):
    """Hinge loss of scores for targets 1 and -1."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = torch.relu(self.margin - x * target.reshape(x.shape))
        return loss.mean() if self.average else loss.sum()


@converts("nn.MarginCriterion", traits=CRITERION)
def margin_criterion(layer: Layer) -> MarginCriterion:
    """nn.MarginCriterion([margin = 1])"""
    return MarginCriterion(layer.number("margin", 1.0), averages(layer))


class SoftMarginCriterion(AveragingCriterion):
    """Logistic loss of scores for targets 1 and -1."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = -functional.logsigmoid(x * target.reshape(x.shape))
        return loss.mean() if self.average else loss.sum()


@converts("nn.SoftMarginCriterion", traits=CRITERION)
def soft_margin_criterion(layer: Layer) -> SoftMarginCriterion:
    """nn.SoftMarginCriterion()"""
    return SoftMarginCriterion(averages(layer))
