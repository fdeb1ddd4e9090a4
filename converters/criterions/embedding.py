"""Criterions for distances between pairs; targets are 1 for similar, -1 for dissimilar pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from .regression import CRITERION, AveragingCriterion, MarginLoss, averages


class CosineEmbeddingCriterion(MarginLoss):
    """1 - cosine for similar pairs, what the cosine exceeds the margin by for dissimilar ones."""

    def forward(self, x: list[torch.Tensor], target: torch.Tensor | float) -> torch.Tensor:
        a, b = (x[0].unsqueeze(0), x[1].unsqueeze(0)) if x[0].dim() == 1 else (x[0], x[1])
        similar = torch.as_tensor(target, device=a.device).reshape(-1)
        norms = ((a * a).sum(1) + 1e-12) * ((b * b).sum(1) + 1e-12)
        cosine = (a * b).sum(1) / norms.sqrt()
        if similar.shape != cosine.shape:
            raise ValueError(f"{similar.shape[0]} targets don't fit {cosine.shape[0]} pairs")
        dissimilar = torch.where(similar == -1, torch.relu(cosine - self.margin), cosine)
        loss = torch.where(similar == 1, 1 - cosine, dissimilar)
        return loss.mean() if self.average else loss.sum()


@converts("nn.CosineEmbeddingCriterion", traits=CRITERION)
def cosine_embedding_criterion(layer: Layer) -> CosineEmbeddingCriterion:
    """nn.CosineEmbeddingCriterion([margin = 0])"""
    layer.ignore("_y", "w1", "w22", "w", "w32", "_outputs", "_idx")
    return CosineEmbeddingCriterion(layer.number("margin", 0.0), averages(layer, default=False))


class HingeEmbeddingCriterion(MarginLoss):
    """The distance of similar pairs; of dissimilar ones what it falls short of the margin by."""

    def forward(self, x: torch.Tensor, target: torch.Tensor | float) -> torch.Tensor:
        similar = torch.as_tensor(target, device=x.device)
        similar = similar.reshape(x.shape) if similar.dim() > 0 else similar
        short = torch.where(x > self.margin, 0, self.margin - x)
        loss = torch.where(similar == -1, 0, x) + torch.where(similar == 1, 0, short)
        return loss.mean() if self.average else loss.sum()


@converts("nn.HingeEmbeddingCriterion", traits=CRITERION)
def hinge_embedding_criterion(layer: Layer) -> HingeEmbeddingCriterion:
    """nn.HingeEmbeddingCriterion([margin = 1])"""
    layer.ignore("ty")
    return HingeEmbeddingCriterion(layer.number("margin", 1.0), averages(layer))


class L1HingeEmbeddingCriterion(nn.Module):
    """The L1 distance of a similar pair; of a dissimilar one what it falls short of the margin by."""

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x: list[torch.Tensor], target: torch.Tensor | float) -> torch.Tensor:
        if isinstance(target, torch.Tensor) and target.dim() > 0:
            raise TypeError("the target must be a number: Torch7 takes every tensor for 1")
        distance = (x[0] - x[1].reshape(x[0].shape)).abs().sum()
        if target == -1:
            distance = torch.where(distance > self.margin, 0, self.margin - distance)
        return distance

    def extra_repr(self) -> str:
        return f"margin={self.margin}"


@converts("nn.L1HingeEmbeddingCriterion", traits=CRITERION)
def l1_hinge_embedding_criterion(layer: Layer) -> L1HingeEmbeddingCriterion:
    """nn.L1HingeEmbeddingCriterion([margin = 1])

    The target must be a number.
    """
    return L1HingeEmbeddingCriterion(layer.number("margin", 1.0))


class MarginRankingCriterion(MarginLoss):
    """What the first score exceeds the second by less than the margin (target 1; the other way round for -1).

    With a number as target only the first element of each is compared.
    """

    def forward(self, x: list[torch.Tensor], target: torch.Tensor | float) -> torch.Tensor:
        a, b = x[0], x[1].reshape(x[0].shape)
        if not isinstance(target, torch.Tensor) or target.dim() == 0:
            a, b = a.reshape(-1)[0], b.reshape(-1)[0]
            loss = self.margin - target * (a - b)
            return torch.where(loss < 0, 0, loss)
        loss = self.margin - target.reshape(a.shape) * (a - b)
        total = torch.where(loss < 0, 0, loss).sum()
        return total / target.shape[0] if self.average else total


@converts("nn.MarginRankingCriterion", traits=CRITERION)
def margin_ranking_criterion(layer: Layer) -> MarginRankingCriterion:
    """nn.MarginRankingCriterion([margin = 1])

    With a number as target only the first element of each tensor is compared.
    """
    layer.ignore("dist", "mask")
    return MarginRankingCriterion(layer.number("margin", 1.0), averages(layer, default=False))


class DistanceRatioCriterion(AveragingCriterion):
    """-log(exp(-x) / (exp(-x) + exp(-y))) for the distances x of similar and y of dissimilar samples; no target."""

    def forward(self, x: list[torch.Tensor], target: Any = None) -> torch.Tensor:
        near, far = x[0], x[1].reshape(x[0].shape)
        total = (near + torch.logaddexp(-near, -far)).sum()
        return total / near.shape[0] if self.average else total


@converts("nn.DistanceRatioCriterion", traits=CRITERION)
def distance_ratio_criterion(layer: Layer) -> DistanceRatioCriterion:
    """nn.DistanceRatioCriterion([sizeAverage = true])"""
    layer.ignore("_expMinusX", "_expMinusY", "_sumExpMinusXY", "_logSumExpMinusXY", "loss", "dX", "dY")
    return DistanceRatioCriterion(averages(layer))


class SquaredHingeLoss(nn.Module):
    """The square of what the input times its target (1 or -1) lacks to a margin; the mean, or the sum."""

    def __init__(self, margin: float = 1.0, average: bool = True) -> None:
        super().__init__()
        self.margin = margin
        self.average = average

    def forward(self, x: torch.Tensor, target: torch.Tensor | float) -> torch.Tensor:
        loss = (self.margin - x * target).clamp(min=0).square()
        return loss.mean() if self.average else loss.sum()

    def extra_repr(self) -> str:
        return f"margin={self.margin}, average={self.average}"


@converts("SqrtHingeEmbeddingCriterion", traits=CRITERION)
def squared_hinge_criterion(layer: Layer) -> SquaredHingeLoss:
    """SqrtHingeEmbeddingCriterion([margin = 1]), of itayhubara/BinaryNet

    The squared hinge loss.
    """
    layer.ignore("ty")
    return SquaredHingeLoss(layer.number("margin", 1.0), layer.flag("sizeAverage", default=True))
