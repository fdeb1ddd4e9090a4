"""Criterions that hold other criterions, or modules; also those of package rnn, for sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from .regression import CRITERION


class WeightedCriterions(nn.Module):
    """Criterions, each with a weight."""

    def __init__(self, criterions: list[nn.Module], weights: list[float]) -> None:
        super().__init__()
        self.criterions = nn.ModuleList(criterions)
        self.weights = weights

    def extra_repr(self) -> str:
        return f"weights={self.weights}"


class MultiCriterion(WeightedCriterions):
    """The weighted sum of criterions that get the same input and target."""

    def forward(self, x: Any, target: Any) -> Any:
        pairs = zip(self.criterions, self.weights, strict=True)
        return sum(weight * criterion(x, target) for criterion, weight in pairs)


@converts("nn.MultiCriterion", traits=CRITERION)
def multi_criterion(layer: Layer) -> MultiCriterion:
    """nn.MultiCriterion()"""
    return MultiCriterion(layer.modules("criterions"), list(layer.numbers("weights")))


class ParallelCriterion(WeightedCriterions):
    """The weighted sum of criterions; the i-th gets the i-th entry of the input and of the target.

    With `repeat_target`, all of them get the whole target.
    """

    def __init__(self, criterions: list[nn.Module], weights: list[float], repeat_target: bool = False) -> None:
        super().__init__(criterions, weights)
        self.repeat_target = repeat_target

    def forward(self, x: Any, target: Any) -> Any:
        total = 0
        for i, criterion in enumerate(self.criterions):
            total = total + self.weights[i] * criterion(x[i], target if self.repeat_target else target[i])
        return total

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, repeat_target={self.repeat_target}"


@converts("nn.ParallelCriterion", traits=CRITERION)
def parallel_criterion(layer: Layer) -> ParallelCriterion:
    """nn.ParallelCriterion([repeatTarget = false])"""
    repeat = layer.flag("repeatTarget", default=False)
    return ParallelCriterion(layer.modules("criterions"), list(layer.numbers("weights")), repeat)


class CriterionTable(nn.Module):
    """A criterion as a module: its input is the list of the criterion's input and target."""

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, x: list[Any]) -> Any:
        return self.criterion(*x[:2])


@converts("nn.CriterionTable", traits=Traits(reuses="nothing"))
def criterion_table(layer: Layer) -> CriterionTable:
    """nn.CriterionTable(criterion)"""
    return CriterionTable(layer.module("criterion"))


class ModuleCriterion(nn.Module):
    """A criterion whose input and target first go through modules."""

    def __init__(
        self, criterion: nn.Module, input_module: nn.Module | None = None, target_module: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.criterion = criterion
        self.input_module = input_module
        self.target_module = target_module

    def forward(self, x: Any, target: Any) -> Any:
        if self.input_module is not None:
            x = self.input_module(x)
        if self.target_module is not None:
            with torch.no_grad():
                target = self.target_module(target)
        return self.criterion(x, target)


@converts("nn.ModuleCriterion", traits=CRITERION)
def module_criterion(layer: Layer) -> ModuleCriterion:
    """nn.ModuleCriterion(criterion, [inputModule], [targetModule], [castTarget = true])"""
    layer.ignore("input", "target", "castTarget")
    input_module = layer.module("inputModule") if layer.has("inputModule") else None
    target_module = layer.module("targetModule") if layer.has("targetModule") else None
    return ModuleCriterion(layer.module("criterion"), input_module, target_module)


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
