"""Criterions that compare two tensors element by element; they need not have the same shape, only as many elements."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ...model.layer import Layer
from ...model.registry import converts, converts_to
from ...model.traits import Traits

CRITERION = Traits(criterion=True)


def averages(layer: Layer, default: bool = True) -> bool:
    """The `sizeAverage` flag; `output_tensor` is where Torch7 left its last loss."""
    layer.ignore("output_tensor")
    return layer.flag("sizeAverage", default)


def number_of_weights(layer: Layer) -> int:
    """How many `weights` there are, one for each class or label; 0: none."""
    return layer.tensor("weights").shape[0] if layer.has("weights") else 0


class AveragingCriterion(nn.Module):
    """A criterion that gives the mean of its losses, or their sum."""

    def __init__(self, average: bool = True) -> None:
        super().__init__()
        self.average = average

    def extra_repr(self) -> str:
        return f"average={self.average}"


class MarginLoss(AveragingCriterion):
    """A criterion that asks for a margin."""

    def __init__(self, margin: float = 1.0, average: bool = True) -> None:
        super().__init__(average)
        self.margin = margin

    def extra_repr(self) -> str:
        return f"margin={self.margin}, {super().extra_repr()}"


class MSECriterion(AveragingCriterion):
    """The mean, or sum, of squared differences."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = (x - target.reshape(x.shape)) ** 2
        return loss.mean() if self.average else loss.sum()


@converts("nn.MSECriterion", traits=CRITERION)
def mse_criterion(layer: Layer) -> MSECriterion:
    """nn.MSECriterion([sizeAverage = true])"""
    return MSECriterion(averages(layer))


class AbsCriterion(AveragingCriterion):
    """The mean, or sum, of absolute differences; without difference the gradient is that of a larger input."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        difference = x - target.reshape(x.shape)
        loss = torch.where(difference >= 0, difference, -difference)
        return loss.mean() if self.average else loss.sum()


@converts("nn.AbsCriterion", traits=CRITERION)
def abs_criterion(layer: Layer) -> AbsCriterion:
    """nn.AbsCriterion([sizeAverage = true])"""
    return AbsCriterion(averages(layer))


class SmoothL1Criterion(AveragingCriterion):
    """The mean, or sum, of differences that are squared below 1 and absolute above."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.smooth_l1_loss(x, target.reshape(x.shape), reduction="mean" if self.average else "sum")


@converts("nn.SmoothL1Criterion", traits=CRITERION)
def smooth_l1_criterion(layer: Layer) -> SmoothL1Criterion:
    """nn.SmoothL1Criterion([sizeAverage = true])"""
    return SmoothL1Criterion(averages(layer))


class WeightedMSECriterion(nn.Module):
    """The mean, or sum, of squared differences to the target, which is first multiplied by a weight."""

    weight: torch.Tensor

    def __init__(self, size: list[int], average: bool = True) -> None:
        super().__init__()
        self.size = size
        self.average = average
        self.register_buffer("weight", torch.empty(size))

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        # a weight with one dimension less is that of one sample
        weight = self.weight if x.dim() == self.weight.dim() + 1 else self.weight.reshape(x.shape)
        loss = (x - target.reshape(x.shape) * weight) ** 2
        return loss.mean() if self.average else loss.sum()

    def extra_repr(self) -> str:
        return f"{self.size}, average={self.average}"


@converts("nn.WeightedMSECriterion", traits=CRITERION)
def weighted_mse_criterion(layer: Layer) -> WeightedMSECriterion:
    """nn.WeightedMSECriterion(weight)

    The weight multiplies the target, not the error.
    """
    size = list(layer.tensor("weight").shape)
    return layer.put(layer.make(WeightedMSECriterion, size, averages(layer)), "weight")


class SpatialAutoCropMSECriterion(AveragingCriterion):
    """The mean, or sum, of squared differences between images and the centre of larger targets."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        top, left = (target.shape[-2] - height) // 2, (target.shape[-1] - width) // 2
        if x.dim() not in (3, 4) or x.shape[:-2] != target.shape[:-2] or top < 0 or left < 0:
            raise ValueError(f"a target of size {tuple(target.shape)} can't be cropped to size {tuple(x.shape)}")
        loss = (x - target[..., top : top + height, left : left + width]) ** 2
        return loss.mean() if self.average else loss.sum()


@converts("nn.SpatialAutoCropMSECriterion", traits=Traits(reads="images", criterion=True))
def spatial_auto_crop_mse_criterion(layer: Layer) -> SpatialAutoCropMSECriterion:
    """nn.SpatialAutoCropMSECriterion([sizeAverage = true])"""
    return SpatialAutoCropMSECriterion(averages(layer))


class DistKLDivCriterion(AveragingCriterion):
    """The Kullback-Leibler divergence of log probabilities from target probabilities, averaged over all elements."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if x.shape != target.shape:
            raise ValueError(f"the target has size {tuple(target.shape)}, the input {tuple(x.shape)}")
        positive = target > 0
        loss = torch.where(positive, target * (torch.where(positive, target, 1).log() - x), 0)
        return loss.mean() if self.average else loss.sum()


@converts("nn.DistKLDivCriterion", traits=CRITERION)
def dist_kl_div_criterion(layer: Layer) -> DistKLDivCriterion:
    """nn.DistKLDivCriterion()

    sizeAverage divides by the number of elements, not of samples.
    """
    return DistKLDivCriterion(averages(layer))


class L1Cost(nn.Module):
    """The sum of absolute values; there is no target."""

    def forward(self, x: torch.Tensor, target: Any = None) -> torch.Tensor:
        return x.abs().sum()


converts_to(L1Cost, "nn.L1Cost", ignore=("output_tensor", "sizeAverage"), traits=CRITERION)


class Criterion(nn.Module):
    """The base class of criterions, which computes nothing."""

    def forward(self, x: Any, target: Any = None) -> None:
        return None


@converts("nn.Criterion", traits=CRITERION)
def criterion(layer: Layer) -> Criterion:
    """nn.Criterion()

    The abstract base class: it returns nothing.
    """
    return Criterion()
