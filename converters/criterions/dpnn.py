"""Criterions of packages dpnn and nnx."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ...model.layer import Layer
from ...model.registry import converts, converts_to
from ...model.traits import Traits
from .binary import SoftMarginCriterion
from .containers import WeightedCriterions
from .regression import CRITERION, AveragingCriterion, averages


class BinaryLogisticRegression(SoftMarginCriterion):
    """Logistic loss of scores for targets 1 and -1."""


@converts("nn.BinaryLogisticRegression")
def binary_logistic_regression(layer: Layer) -> BinaryLogisticRegression:
    """nn.BinaryLogisticRegression([sizeAverage = true])"""
    layer.ignore("_baseExponents", "_coeff", "_logCoeff", "_k")
    return BinaryLogisticRegression(averages(layer))


class SpatialBinaryLogisticRegression(AveragingCriterion):
    """Half the logistic loss of maps (1, H, W) or a batch of them, averaged over positions and, if asked, samples."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if x.shape != target.shape or x.dim() not in (3, 4) or x.shape[-3] != 1:
            raise ValueError(f"input and target must be maps of one channel, not {tuple(x.shape)}")
        loss = -functional.logsigmoid(x * target)
        return loss.mean() / 2 if self.average else loss.sum() / (2 * x.shape[-2] * x.shape[-1])


@converts("nn.SpatialBinaryLogisticRegression", traits=Traits(reads="images"))
def spatial_binary_logistic_regression(layer: Layer) -> SpatialBinaryLogisticRegression:
    """nn.SpatialBinaryLogisticRegression()"""
    layer.ignore("_baseExponents", "_coeff", "_logCoeff", "_k", "_h", "_w", "_isBatch")
    return SpatialBinaryLogisticRegression(averages(layer))


class NoiseContrast(torch.autograd.Function):
    """Minus the log likelihood of which words came from the model and which from the noise.

    Torch7's epsilon is not part of its gradient, which is not quite the derivative.
    """

    @staticmethod
    def forward(
        target: torch.Tensor, samples: torch.Tensor, target_noise: torch.Tensor, sample_noise: torch.Tensor
    ) -> torch.Tensor:
        k = samples.shape[1]
        from_model = target / (target + k * target_noise + 1e-7)
        from_noise = k * sample_noise / (samples + k * sample_noise + 1e-7)
        return -(from_model.log().sum() + from_noise.log().sum())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        target, samples, target_noise, sample_noise = ctx.saved_tensors
        k = samples.shape[1]
        d_target = -k * target_noise / (target + k * target_noise + 1e-7) / (target + 1e-7)
        d_samples = samples / (samples + k * sample_noise + 1e-7) / (samples + 1e-7)
        return grad * d_target, grad * d_samples, None, None


class NCECriterion(AveragingCriterion):
    """Noise contrastive estimation; takes what nn.NCEModule gives in training.

    That is a list of the model's probabilities of the target (N) and of k samples (N, k), and those of the noise.
    """

    def forward(self, x: list[torch.Tensor], target: Any = None) -> torch.Tensor:
        loss: torch.Tensor = NoiseContrast.apply(x[0], x[1], x[2], x[3])  # type: ignore[no-untyped-call]
        return loss / x[0].shape[0] if self.average else loss


@converts("nn.NCECriterion", traits=CRITERION)
def nce_criterion(layer: Layer) -> NCECriterion:
    """nn.NCECriterion()"""
    layer.ignore("_Pom", "_Pomdiv", "_Pon", "_Pondiv", "_lnPom", "_lnPon")
    return NCECriterion(averages(layer))


class ClassReward(nn.Module):
    """Minus the reward for right predictions; the baseline in the second entry of the input learns that reward.

    Args:
        criterion: of the baseline and the reward; it gives the gradient, but is no part of the loss.
        scale: the reward for a right prediction.
        average: divide by the number of samples.
        binary: predictions are probabilities of class 1 against 0; if not, scores of classes (1-based).
    """

    def __init__(self, criterion: nn.Module, scale: float = 1.0, average: bool = True, binary: bool = False) -> None:
        super().__init__()
        self.criterion = criterion
        self.scale = scale
        self.average = average
        self.binary = binary

    def forward(self, x: list[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        prediction, baseline = x[0], x[1]
        predicted = (prediction > 0.5).long() if self.binary else prediction.argmax(-1).reshape(-1) + 1
        reward = (predicted == target.long().reshape(predicted.shape)).to(prediction.dtype) * self.scale
        loss = -reward.mean() if self.average else -reward.sum()
        learning: torch.Tensor = self.criterion(baseline, reward)
        return loss + (learning - learning.detach())

    def extra_repr(self) -> str:
        return f"scale={self.scale}, average={self.average}, binary={self.binary}"


@converts("nn.VRClassReward", "nn.BinaryClassReward", traits=CRITERION)
def class_reward(layer: Layer) -> ClassReward:
    """nn.VRClassReward(module, [scale = 1], [criterion])

    The loss and the gradient of the baseline are Torch7's; the reward is not handed to the module's stochastic layers
    (REINFORCE), so training them needs code of your own.
    """
    layer.ignore("module", "reward", "_reward", "_binary", "_target", "vrReward", "_maxVal", "_maxIdx", "__maxIdx")
    layer.ignore("dpnn_online")
    layer.note("the reward is not handed on to stochastic layers: REINFORCE needs code of your own")
    binary = layer.typename == "nn.BinaryClassReward"
    return ClassReward(layer.module("criterion"), layer.number("scale", 1.0), averages(layer), binary)


class DistNLLCriterion(nn.Module):
    """Cross entropy of two distributions, summed.

    Args:
        input_is: what the input holds: "scores", "probabilities" or "log probabilities".
        negated: negate the input first.
        target_is_probability: if not, the target goes through a softmax.
    """

    def __init__(self, input_is: str, negated: bool = False, target_is_probability: bool = True) -> None:
        super().__init__()
        self.input_is = input_is
        self.negated = negated
        self.target_is_probability = target_is_probability

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        dim = 0 if x.dim() in (1, 3) else 1
        if not self.target_is_probability:
            target = torch.softmax(target, dim).detach()
        if self.negated:
            x = -x
        if self.input_is == "scores":
            x = torch.log_softmax(x, dim)
        elif self.input_is == "probabilities":
            x = torch.log(x)
        return -(x * target.reshape(x.shape)).sum()

    def extra_repr(self) -> str:
        return f"{self.input_is!r}, negated={self.negated}, target_is_probability={self.target_is_probability}"


@converts("nn.DistNLLCriterion", traits=CRITERION)
def dist_nll_criterion(layer: Layer) -> DistNLLCriterion:
    """nn.DistNLLCriterion([options])"""
    layer.ignore("targetSoftMax", "inputLogSoftMax", "inputLog", "gradLogInput", "input", "probTarget", "logProbInput")
    input_is = "scores"
    if layer.flag("inputIsProbability", default=False):
        input_is = "probabilities"
    if layer.flag("inputIsLogProbability", default=False):
        input_is = "log probabilities"
    negated = layer.flag("inputIsADistance", default=False)
    return DistNLLCriterion(input_is, negated, layer.flag("targetIsProbability", default=False))


class SuperCriterion(WeightedCriterions):
    """The weighted sum of criterions; the i-th gets the i-th entry of the input, and of a list as target."""

    def forward(self, x: list[Any], target: Any) -> Any:
        each = isinstance(target, (list, tuple))
        total = 0
        for i, criterion in enumerate(self.criterions):
            total = total + self.weights[i] * criterion(x[i], target[i] if each else target)
        return total


@converts("nn.SuperCriterion", traits=CRITERION)
def super_criterion(layer: Layer) -> SuperCriterion:
    """nn.SuperCriterion()"""
    return SuperCriterion(layer.modules("criterions"), list(layer.numbers("weights")))


class TreeNLLCriterion(nn.Module):
    """Minus the mean of the log likelihoods that nn.SoftMaxTree gives."""

    def forward(self, x: torch.Tensor, target: Any = None) -> torch.Tensor:
        return -x.mean(0).reshape(-1)[0]


converts_to(TreeNLLCriterion, "nn.TreeNLLCriterion", ignore=("_module", "_output_grad"), traits=CRITERION)
