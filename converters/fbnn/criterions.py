"""Losses of facebook/fbnn; classes are 1-based."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts
from ..criterions.containers import ModuleCriterion
from ..criterions.regression import CRITERION, AveragingCriterion, averages


class TrueNLLCriterion(AveragingCriterion):
    """Minus the logarithm of the probability of the target class (1-based), to which 1e-8 is added."""

    def forward(self, x: torch.Tensor, target: torch.Tensor | float) -> torch.Tensor:
        index = torch.as_tensor(target, device=x.device).long().reshape(-1, 1) - 1
        losses = -torch.log(x.reshape(-1, x.shape[-1]).gather(1, index) + 1e-8)
        return losses.mean() if self.average else losses.sum()


@converts("nn.TrueNLLCriterion", traits=CRITERION)
def true_nll_criterion(layer: Layer) -> TrueNLLCriterion:
    """nn.TrueNLLCriterion(), of facebook/fbnn

    The negative log likelihood of probabilities, not of their logarithms.
    """
    return TrueNLLCriterion(averages(layer))


class ClassNLLCriterionWithUNK(nn.Module):
    """A criterion that leaves out samples of an unknown class.

    Where some are left out, the losses of the others are summed up, each computed by itself: not their mean, as it is
    of a batch that has none.

    Args:
        criterion: takes log probabilities and 1-based targets.
        unk_index: the target that is left out; None: none is.
        always_sum: does it sum up a batch without unknown classes too, as on a GPU?
    """

    def __init__(self, criterion: nn.Module, unk_index: int | None = None, always_sum: bool = False) -> None:
        super().__init__()
        self.criterion = criterion
        self.unk_index = unk_index
        self.always_sum = always_sum

    def forward(self, x: torch.Tensor, target: torch.Tensor | float) -> Any:
        targets = torch.as_tensor(target, device=x.device).reshape(-1)
        known = torch.ones_like(targets, dtype=torch.bool) if self.unk_index is None else targets.ne(self.unk_index)
        if bool(known.all()) and (x.dim() == 1 or not self.always_sum):
            return self.criterion(x, target)
        rows = x.reshape(-1, x.shape[-1])
        losses = [self.criterion(row, one) for row, one in zip(rows[known], targets[known], strict=True)]
        return sum(losses) if losses else x.sum() * 0

    def extra_repr(self) -> str:
        return f"unk_index={self.unk_index}, always_sum={self.always_sum}"


@converts("nn.ClassNLLCriterionWithUNK", traits=CRITERION)
def class_nll_criterion_with_unk(layer: Layer) -> ClassNLLCriterionWithUNK:
    """nn.ClassNLLCriterionWithUNK(unk_index, [sizeAverage = true]), of facebook/fbnn

    nn.ClassNLLCriterion that leaves out targets unk_index. If a batch has one, Torch7 gives the sum of the others'
    losses, not their mean; on a GPU it always does.
    """
    layer.ignore("tmp", "gradInputExtra", "use_unk")
    index = layer.integer("unk_index") if layer.has("unk_index") else None
    on_gpu = layer.text("tensortype", "") == "torch.CudaTensor"
    return ClassNLLCriterionWithUNK(layer.module("crit"), index, always_sum=on_gpu and index is not None)


class SoftPlusLSECriterion(nn.Module):
    """The sum of softplus(LSE), LSE being the log of the sum of exponentials of each row; it takes no target.

    Args:
        minus_lse: subtract LSE from each.
    """

    def __init__(self, minus_lse: bool = False) -> None:
        super().__init__()
        self.minus_lse = minus_lse

    def forward(self, x: torch.Tensor, target: Any = None) -> torch.Tensor:
        lse = torch.logsumexp(x, 1)
        losses = F.softplus(lse) - lse if self.minus_lse else F.softplus(lse)
        return losses.sum()

    def extra_repr(self) -> str:
        return f"minus_lse={self.minus_lse}"


@converts("nn.SoftPlusLSECriterion", traits=CRITERION)
def soft_plus_lse_criterion(layer: Layer) -> SoftPlusLSECriterion:
    """nn.SoftPlusLSECriterion([sizeAverage]), of facebook/fbnn

    The sum over the rows of log(1 + sum(exp(x))); it takes no target, and Torch7 does not ask sizeAverage.
    """
    layer.ignore("sizeAverage", "threshold", "LSE")
    return SoftPlusLSECriterion()


@converts("nn.SoftPlusLSEMinusLSECriterion", traits=CRITERION)
def soft_plus_lse_minus_lse_criterion(layer: Layer) -> SoftPlusLSECriterion:
    """nn.SoftPlusLSEMinusLSECriterion([sizeAverage]), of facebook/fbnn

    The sum over the rows of log(1 + 1 / sum(exp(x))); it takes no target, and Torch7 does not ask sizeAverage.
    """
    layer.ignore("sizeAverage", "threshold", "LSE", "SoftPlusLSE")
    return SoftPlusLSECriterion(minus_lse=True)


@converts("nn.SequentialCriterion", traits=CRITERION)
def sequential_criterion(layer: Layer) -> ModuleCriterion:
    """nn.SequentialCriterion(module, criterion), of facebook/fbnn

    The input goes through the module first.
    """
    return ModuleCriterion(layer.module("criterion"), layer.module("module"))
