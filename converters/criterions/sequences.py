"""Losses of sequences, of eladhoffer/recurrent.torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from .regression import CRITERION


class MaskPaddingCriterion(nn.Module):
    """A criterion of the rows whose target is not a certain number; inputs and targets may have any dimensions.

    Args:
        criterion: takes the rows that are left, and their targets.
        padding: the target of rows that are left out.
    """

    def __init__(self, criterion: nn.Module, padding: float = 0) -> None:
        super().__init__()
        self.criterion = criterion
        self.padding = padding

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> Any:
        kept = target.reshape(-1).ne(self.padding)
        return self.criterion(x.reshape(-1, x.shape[-1])[kept], target.reshape(-1)[kept])

    def extra_repr(self) -> str:
        return f"padding={self.padding}"


@converts("nn.MaskPaddingCriterion", traits=CRITERION)
def mask_padding_criterion(layer: Layer) -> MaskPaddingCriterion:
    """nn.MaskPaddingCriterion(criterion, [padVal = 0]), of eladhoffer/recurrent.torch

    Leaves out the rows whose target is padVal.
    """
    layer.ignore("index", "reducedInput", "reducedTarget")
    return MaskPaddingCriterion(layer.module("criterion"), layer.number("padVal"))


class TemporalCriterion(nn.Module):
    """The sum of a criterion's losses over the second dimension, time.

    Args:
        criterion: takes one time step, or with `as_batch` all at once, whose loss is then multiplied by their number.
        repeat_target: does each time step get the whole target? Not with `as_batch`.
        as_batch: do time steps count as further samples?
    """

    def __init__(self, criterion: nn.Module, repeat_target: bool = False, as_batch: bool = True) -> None:
        super().__init__()
        self.criterion = criterion
        self.repeat_target = repeat_target
        self.as_batch = as_batch

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> Any:
        steps = x.shape[1]
        if self.as_batch:
            return self.criterion(x.flatten(0, 1), target.flatten(0, 1)) * steps
        return sum(self.criterion(x[:, t], target if self.repeat_target else target[:, t]) for t in range(steps))

    def extra_repr(self) -> str:
        return f"repeat_target={self.repeat_target}, as_batch={self.as_batch}"


@converts("nn.TemporalCriterion", traits=CRITERION)
def temporal_criterion(layer: Layer) -> TemporalCriterion:
    """nn.TemporalCriterion(criterion, [repeatTarget], [evalAsBatch = true]), of eladhoffer/recurrent.torch

    The sum of the losses of all time steps of (batch, time, …). Torch7's code for tables of time steps fails.
    """
    layer.ignore("_input", "_target")
    repeat = layer.flag("repeatTarget", default=False)
    return TemporalCriterion(layer.module("criterion"), repeat, layer.flag("evalAsBatch"))
