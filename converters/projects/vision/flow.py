"""Losses of optical flows: anuragranj/spynet, ClementPinard/FlowNetTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts
from ...criterions.regression import CRITERION


class EndpointError(nn.Module):
    """The mean distance of the vectors in the second dimension of (N, 2, …) to those of the target."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        squares = (x - target).square().sum(1)
        zero = squares == 0
        return torch.where(zero, 0, torch.where(zero, 1, squares).sqrt()).sum() * 2 / x.numel()


class LossOfDistances(nn.Module):
    """A loss of the distances of vectors to those of the target, of which it wants zeros.

    The vectors stand in the second dimension of (N, 2, H, W), in the first of (2, H, W).

    Args:
        criterion: the loss of the distances.
    """

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> Any:
        distances = (x - target).square().sum(-3, keepdim=True).sqrt()
        return self.criterion(distances, torch.zeros_like(distances))


@converts("nn.EPECriterion", traits=CRITERION)
def epe_criterion(layer: Layer) -> nn.Module:
    """nn.EPECriterion(), of anuragranj/spynet

    The end-point error of an optical flow. nn.EPECriterion([scales], [criterion]) of ClementPinard/FlowNetTorch is told
    by its field `criterion`, a loss of the distances; as in Torch7 the gradient of a distance of 0 is NaN.
    """
    layer.ignore("sizeAverage")
    if layer.has("criterion"):
        layer.ignore("EPE", "zeroEPE")
        return LossOfDistances(layer.module("criterion"))
    return EndpointError()
