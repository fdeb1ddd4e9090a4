"""Package rnn: criterions for sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from .regression import CRITERION


class SequencerCriterion(nn.Module):
    """Adds up a criterion over the entries of a sequence and their targets; `average` divides by their number.

    With `repeat_target`, every entry gets the whole target.
    """

    def __init__(self, criterion: nn.Module, average: bool = False, repeat_target: bool = False) -> None:
        super().__init__()
        self.criterion = criterion
        self.average = average
        self.repeat_target = repeat_target

    def forward(self, x: Any, target: Any) -> Any:
        loss = sum(self.criterion(x[i], target if self.repeat_target else target[i]) for i in range(len(x)))
        return loss / len(x) if self.average else loss

    def extra_repr(self) -> str:
        return f"average={self.average}, repeat_target={self.repeat_target}"


@converts("nn.SequencerCriterion", traits=CRITERION)
def sequencer_criterion(layer: Layer) -> SequencerCriterion:
    """nn.SequencerCriterion(criterion, [sizeAverage = false])"""
    layer.ignore("clones")
    return SequencerCriterion(layer.module("criterion"), average=layer.flag("sizeAverage", default=False))


@converts("nn.RepeaterCriterion", traits=CRITERION)
def repeater_criterion(layer: Layer) -> SequencerCriterion:
    """nn.RepeaterCriterion(criterion)"""
    layer.ignore("clones", "sizeAverage")
    return SequencerCriterion(layer.module("criterion"), repeat_target=True)


class MaskZeroCriterion(nn.Module):
    """A criterion of the samples that are not all zero (in the input's first tensor); without any, the loss is 0."""

    def __init__(self, criterion: nn.Module, input_dims: int) -> None:
        super().__init__()
        self.criterion = criterion
        self.input_dims = input_dims

    def forward(self, x: Any, target: Any) -> Any:
        first = x
        while isinstance(first, (list, tuple)):
            first = first[0]
        kept = (first != 0).reshape(first.shape[0], -1).any(-1).nonzero().squeeze(-1)
        if kept.numel() == 0:
            return first.new_zeros(())
        return self.criterion(self.select(x, kept), self.select(target, kept))

    def select(self, value: Any, kept: torch.Tensor) -> Any:
        if isinstance(value, torch.Tensor):
            return value.index_select(0, kept)
        return [self.select(item, kept) for item in value]

    def extra_repr(self) -> str:
        return f"input_dims={self.input_dims}"


@converts("nn.MaskZeroCriterion", traits=CRITERION)
def mask_zero_criterion(layer: Layer) -> MaskZeroCriterion:
    """nn.MaskZeroCriterion(criterion, nInputDim)"""
    layer.ignore("zeroMask", "_zeroMask", "__zeroMask", "input", "target", "sizeAverage")
    return MaskZeroCriterion(layer.module("criterion"), layer.integer("nInputDim"))
