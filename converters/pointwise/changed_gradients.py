"""Layers that pass their input on, or nearly so, and whose gradient is deliberately not the derivative."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, converts_to
from ...model.traits import Traits

PASSES = Traits(output="pass")


class ReverseGradient(torch.autograd.Function):
    """The input; its gradient is multiplied by a negative number."""

    @staticmethod
    def forward(x: torch.Tensor, factor: float) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, float], output: torch.Tensor) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -ctx.factor * grad, None


class GradientReversal(nn.Module):
    """Returns its input; multiplies the gradient by -`factor` on the way back."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = ReverseGradient.apply(x, self.factor)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


@converts("nn.GradientReversal", traits=replace(PASSES, safe_on_own_output=True))
def gradient_reversal(layer: Layer) -> GradientReversal:
    """nn.GradientReversal([lambda = 1])"""
    factor = layer.number("lambda", 1.0)
    return GradientReversal(factor if layer.version >= 2 else 1.0)


class StopGradient(torch.autograd.Function):
    """The input; its gradient is zero."""

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(grad)


class ZeroGrad(nn.Module):
    """Returns its input; the gradient becomes zero on the way back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = StopGradient.apply(x)  # type: ignore[no-untyped-call]
        return y


converts_to(ZeroGrad, "nn.ZeroGrad", traits=replace(PASSES, safe_on_own_output=True))


class AddSignToGradient(torch.autograd.Function):
    """The input; its gradient gets the gradient of a multiple of the input's 1-norm."""

    @staticmethod
    def forward(x: torch.Tensor, weight: float, provide_output: bool) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, float, bool], output: torch.Tensor) -> None:
        x, ctx.weight, ctx.provide_output = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (x,) = ctx.saved_tensors
        penalty = ctx.weight * x.sign()
        return (penalty + grad if ctx.provide_output else penalty), None, None


class L1Penalty(nn.Module):
    """Returns its input; on the way back it adds the gradient of `weight` times the 1-norm of the input.

    Args:
        weight: the factor.
        average: divide it by the number of elements.
        provide_output: keep the gradient that comes from behind; if not, the penalty's takes its place.
    """

    def __init__(self, weight: float, average: bool = False, provide_output: bool = True) -> None:
        super().__init__()
        self.weight = weight
        self.average = average
        self.provide_output = provide_output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight / x.numel() if self.average else self.weight
        y: torch.Tensor = AddSignToGradient.apply(x, weight, self.provide_output)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"weight={self.weight}, average={self.average}, provide_output={self.provide_output}"


@converts("nn.L1Penalty", traits=replace(PASSES, reuses="nothing", safe_on_own_output=True))
def l1_penalty(layer: Layer) -> L1Penalty:
    """nn.L1Penalty(l1weight, [sizeAverage = false], [provideOutput = true])"""
    layer.ignore("loss")
    return L1Penalty(
        layer.number("l1weight"),
        layer.flag("sizeAverage", default=False),
        layer.flag("provideOutput", default=True),
    )
