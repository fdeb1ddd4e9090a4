"""Kaixhin/Atari: layers of agents that play games."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from ..pointwise.activations import relu
from ..pointwise.changed_gradients import PASSES
from .upscaling import ScaleGradient


@converts("nn.GradientRescale", traits=replace(PASSES, reuses="nothing", keeps_size=True, keeps_numbers=True))
def gradient_rescale(layer: Layer) -> ScaleGradient:
    """nn.GradientRescale(scaleFactor, [inplace]), of Kaixhin/Atari

    Returns its input; the gradient is multiplied by scaleFactor.
    """
    layer.ignore("inplace")
    return ScaleGradient(layer.number("scaleFactor"))


class SalientBackward(torch.autograd.Function):
    """ReLU that passes back positive gradients only; with `deconv` also where its input was negative."""

    @staticmethod
    def forward(x: torch.Tensor, deconv: bool) -> torch.Tensor:
        return x.clamp(min=0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, bool], output: torch.Tensor) -> None:
        ctx.deconv = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (y,) = ctx.saved_tensors
        passed = grad.clamp(min=0)
        return passed if ctx.deconv else passed * (y > 0), None


class SalientReLU(nn.Module):
    """ReLU that passes back positive gradients only; with `deconv` also where its input was negative."""

    def __init__(self, deconv: bool = False) -> None:
        super().__init__()
        self.deconv = deconv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = SalientBackward.apply(x, self.deconv)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"deconv={self.deconv}"


@converts("nn.GuidedReLU", "nn.DeconvnetReLU", traits=Traits(keeps_size=True, picture="activation"))
def salient_relu(layer: Layer) -> nn.Module:
    """nn.GuidedReLU([inplace]), of Kaixhin/Atari

    nn.ReLU. After salientBackprop, which shows what the network looks at, only positive gradients go back:
    nn.GuidedReLU's where the input was positive, nn.DeconvnetReLU's everywhere.
    """
    if layer.flag("guide", default=False) or layer.flag("deconv", default=False):
        layer.ignore("threshold", "val", "inplace")
        return SalientReLU(deconv=layer.flag("deconv", default=False))
    return relu(layer)


class MinDim(nn.Module):
    """Inserts a dimension of size 1 at `position` (0-based) if the input has fewer than `min_dims` dimensions."""

    def __init__(self, position: int, min_dims: int) -> None:
        super().__init__()
        self.position = position
        self.min_dims = min_dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unsqueeze(self.position) if x.dim() < self.min_dims else x

    def extra_repr(self) -> str:
        return f"position={self.position}, min_dims={self.min_dims}"


@converts("nn.MinDim", traits=replace(PASSES, reuses="nothing", keeps_numbers=True))
def min_dim(layer: Layer) -> MinDim:
    """nn.MinDim(pos, minInputDims), of Kaixhin/Atari"""
    return MinDim(layer.integer("pos") - 1, layer.integer("numInputDims"))


class HuberCriterion(nn.Module):
    """Mean Huber loss, linear from an error of `delta` on."""

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        size = (target - x).abs()
        limited = size.clamp(max=self.delta)
        return (0.5 * limited * (2 * size - limited)).mean()

    def extra_repr(self) -> str:
        return f"delta={self.delta}"


@converts("nn.HuberCriterion", traits=Traits(criterion=True))
def huber_criterion(layer: Layer) -> HuberCriterion:
    """nn.HuberCriterion([delta = 1]), of Kaixhin/Atari

    Torch7's gradient has the other sign and is not averaged; here it is the derivative.
    """
    layer.ignore("alpha", "absAlpha", "diffAlpha")
    return HuberCriterion(layer.number("delta", 1.0))
