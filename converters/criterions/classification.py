"""Criterions for one class out of many; targets are 1-based."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from .regression import CRITERION, AveragingCriterion, averages, number_of_weights


class ClassNLLCriterion(nn.Module):
    """Negative log likelihood of the target class (1-based), weighted, averaged by the sum of the weights.

    The input is a vector of log probabilities, a batch (N, C), or maps (N, C, …) with targets (N, …).

    Args:
        classes: how many weights there are, one for each class; 0: none.
        average: divide by the sum of the weights of the targets.
        ignore_index: targets of this number don't count.
    """

    weights: torch.Tensor | None

    def __init__(self, classes: int = 0, average: bool = True, ignore_index: int | None = None) -> None:
        super().__init__()
        self.classes = classes
        self.average = average
        self.ignore_index = ignore_index
        self.register_buffer("weights", torch.empty(classes) if classes else None)

    def forward(self, x: torch.Tensor, target: torch.Tensor | float) -> torch.Tensor:
        index = torch.as_tensor(target, device=x.device).long()
        if x.dim() == 1:
            x, index = x.unsqueeze(0), index.reshape(-1)[:1]
        if index.dim() == 0:
            index = index.reshape(1)
        if index.shape != x.shape[:1] + x.shape[2:]:
            raise ValueError(f"targets of size {tuple(index.shape)} don't fit an input of size {tuple(x.shape)}")
        counts = torch.ones_like(index, dtype=torch.bool) if self.ignore_index is None else index != self.ignore_index
        index = torch.where(counts, index - 1, 0)
        weight = counts.to(x.dtype) if self.weights is None else torch.where(counts, self.weights[index], 0)
        loss = -torch.where(counts, x.gather(1, index.unsqueeze(1)).squeeze(1) * weight, 0).sum()
        if self.average:
            total = weight.sum()
            loss = loss / torch.where(total == 0, 1, total)
        return loss

    def extra_repr(self) -> str:
        return f"classes={self.classes}, average={self.average}, ignore_index={self.ignore_index}"


def _nll(layer: Layer, ignore_index: int | None) -> ClassNLLCriterion:
    layer.ignore("target", "total_weight_tensor")
    module = layer.make(ClassNLLCriterion, number_of_weights(layer), averages(layer), ignore_index)
    return layer.put_all(module, "weights")


@converts("nn.ClassNLLCriterion", traits=CRITERION)
def class_nll_criterion(layer: Layer) -> ClassNLLCriterion:
    """nn.ClassNLLCriterion([weights], [sizeAverage = true], [ignoreIndex = -100])"""
    return _nll(layer, layer.integer("ignoreIndex", -100))


@converts("nn.SpatialClassNLLCriterion", traits=Traits(reads="images", criterion=True))
def spatial_class_nll_criterion(layer: Layer) -> ClassNLLCriterion:
    """nn.SpatialClassNLLCriterion([weights], [sizeAverage = true])"""
    return _nll(layer, None)


class CrossEntropyCriterion(nn.Module):
    """Softmax and negative log likelihood of the target class (1-based), after removing dimensions of size 1."""

    def __init__(self, nll: ClassNLLCriterion) -> None:
        super().__init__()
        self.nll = nll

    def forward(self, x: torch.Tensor, target: torch.Tensor | float) -> torch.Tensor:
        x = x.squeeze()
        target = target.squeeze() if isinstance(target, torch.Tensor) else target
        loss: torch.Tensor = self.nll(torch.log_softmax(x, x.dim() - 1), target)
        return loss


@converts("nn.CrossEntropyCriterion", traits=CRITERION)
def cross_entropy_criterion(layer: Layer) -> CrossEntropyCriterion:
    """nn.CrossEntropyCriterion([weights], [sizeAverage = true])"""
    layer.ignore("lsm")
    nll = layer.module("nll")
    if not isinstance(nll, ClassNLLCriterion):
        layer.refuse("its nll is no nn.ClassNLLCriterion")
    # a sizeAverage that was changed since the last forward is handed on at the next
    if layer.value("sizeAverage", None) != layer.value("oldSizeAverage", None):
        nll.average = layer.flag("sizeAverage", default=False)
    return CrossEntropyCriterion(nll)


class SpatialCrossEntropyCriterion(nn.Module):
    """Softmax over the classes of maps (N, C, …) and negative log likelihood of the target classes (1-based)."""

    def __init__(self, nll: ClassNLLCriterion) -> None:
        super().__init__()
        self.nll = nll

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.nll(torch.log_softmax(x, 1), target)
        return loss


@converts("cudnn.SpatialCrossEntropyCriterion", traits=Traits(reads="images", criterion=True))
def spatial_cross_entropy_criterion(layer: Layer) -> SpatialCrossEntropyCriterion:
    """cudnn.SpatialCrossEntropyCriterion([weights])"""
    layer.ignore("slsm")
    nll = layer.module("nll")
    if not isinstance(nll, ClassNLLCriterion):
        layer.refuse("its nll is no nn.SpatialClassNLLCriterion")
    nll.average = layer.flag("sizeAverage", default=nll.average)
    return SpatialCrossEntropyCriterion(nll)


@converts("cudnn.VolumetricCrossEntropyCriterion", traits=Traits(reads="volumes", criterion=True))
def volumetric_cross_entropy_criterion(layer: Layer) -> SpatialCrossEntropyCriterion:
    """cudnn.VolumetricCrossEntropyCriterion([weights])"""
    inner = layer.module("scec")
    if not isinstance(inner, SpatialCrossEntropyCriterion):
        layer.refuse("its scec is no cudnn.SpatialCrossEntropyCriterion")
    return SpatialCrossEntropyCriterion(inner.nll)


class MultiMarginCriterion(nn.Module):
    """Hinge loss of the scores of all classes against that of the target class (1-based), divided by the classes.

    Args:
        p: exponent of each hinge, 1 or 2.
        margin: by how much the target's score should be larger.
        classes: how many weights there are, one for each class; 0: none.
        average: divide by the number of samples.
    """

    weights: torch.Tensor | None

    def __init__(self, p: int = 1, margin: float = 1.0, classes: int = 0, average: bool = True) -> None:
        super().__init__()
        self.p = p
        self.margin = margin
        self.classes = classes
        self.average = average
        self.register_buffer("weights", torch.empty(classes) if classes else None)

    def forward(self, x: torch.Tensor, target: torch.Tensor | float) -> torch.Tensor:
        index = torch.as_tensor(target, device=x.device).long().reshape(-1) - 1
        if x.dim() == 1:
            x, index = x.unsqueeze(0), index[:1]
        reduction = "mean" if self.average else "sum"
        return functional.multi_margin_loss(x, index, self.p, self.margin, self.weights, reduction=reduction)

    def extra_repr(self) -> str:
        return f"p={self.p}, margin={self.margin}, classes={self.classes}, average={self.average}"


@converts("nn.MultiMarginCriterion", traits=CRITERION)
def multi_margin_criterion(layer: Layer) -> MultiMarginCriterion:
    """nn.MultiMarginCriterion([p = 1], [weights], [margin = 1])"""
    layer.ignore("target_tensor")
    p, margin = layer.integer("p", 1), layer.number("margin", 1.0)
    module = layer.make(MultiMarginCriterion, p, margin, number_of_weights(layer), averages(layer))
    return layer.put_all(module, "weights")


class MultiLabelMarginCriterion(AveragingCriterion):
    """Hinge loss of the scores of all other classes against those of the target classes.

    The targets of a sample are 1-based, as many as there are classes; those from the first 0 on don't count.
    """

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.multilabel_margin_loss(x, target.long() - 1, reduction="mean" if self.average else "sum")


@converts("nn.MultiLabelMarginCriterion", traits=CRITERION)
def multi_label_margin_criterion(layer: Layer) -> MultiLabelMarginCriterion:
    """nn.MultiLabelMarginCriterion()"""
    layer.ignore("isTarget")
    return MultiLabelMarginCriterion(averages(layer))


class DistMarginCriterion(AveragingCriterion):
    """Hinge loss of the scores of all other classes against the least score of the target classes.

    The targets of a sample are 1-based, as many as there are classes; those from the first 0 on don't count. `average`
    divides by the number of classes, not by that of samples.
    """

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        scores, targets = x.reshape(-1, x.shape[-1]), target.long().reshape(-1, x.shape[-1])
        counts = (targets != 0).cumprod(1)
        classes = torch.arange(1, x.shape[-1] + 1, device=x.device)
        is_target = ((targets * counts).unsqueeze(-1) == classes).any(1)
        least = torch.where(is_target, scores, float("inf")).amin(1, keepdim=True)
        losses = torch.where(is_target, 0, functional.relu(1 - least + scores))
        return losses.sum() / x.shape[-1] if self.average else losses.sum()


@converts("nn.DistMarginCriterion", traits=CRITERION)
def dist_margin_criterion(layer: Layer) -> DistMarginCriterion:
    """nn.DistMarginCriterion(), of nnx

    The sum of max(0, 1 - t + x) over all classes but the targets, t being the least score of the targets. The gradient
    goes to the target of that score; Torch7 leaves that of other targets as it was in memory.
    """
    return DistMarginCriterion(averages(layer))


class ClassSimplexCriterion(nn.Module):
    """Squared distance to the corner of a simplex that stands for the target class (1-based)."""

    simplex: torch.Tensor

    def __init__(self, classes: int, average: bool = True) -> None:
        super().__init__()
        self.classes = classes
        self.average = average
        self.register_buffer("simplex", torch.empty(classes, classes))

    def forward(self, x: torch.Tensor, target: torch.Tensor | float) -> torch.Tensor:
        index = torch.as_tensor(target, device=x.device).long() - 1
        loss = (x - self.simplex.index_select(0, index.reshape(-1)).reshape(x.shape)) ** 2
        return loss.mean() if self.average else loss.sum()

    def extra_repr(self) -> str:
        return f"{self.classes}, average={self.average}"


@converts("nn.ClassSimplexCriterion", traits=CRITERION)
def class_simplex_criterion(layer: Layer) -> ClassSimplexCriterion:
    """nn.ClassSimplexCriterion(nClasses)"""
    layer.ignore("_target")
    return layer.put(layer.make(ClassSimplexCriterion, layer.integer("nClasses"), averages(layer)), "simplex")
