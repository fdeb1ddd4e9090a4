"""nagadomi/waifu2x: its package w2nn."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts, converts_to, module_form
from ....model.traits import Traits
from ...criterions.regression import CRITERION
from ...images.convolutions import spatial_convolution


@converts("w2nn.LeakyReLU", traits=Traits(keeps_size=True, picture="activation"))
def leaky_relu(layer: Layer) -> nn.LeakyReLU:
    """w2nn.LeakyReLU([negative_scale = 0.333]), of nagadomi/waifu2x"""
    layer.ignore("negative")
    return nn.LeakyReLU(layer.number("negative_scale", 0.333))


class ClampForward(torch.autograd.Function):
    """The input between 0 and 1; its gradient passes unchanged."""

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.clamp(0, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad


class Clip01(nn.Module):
    """Limits its input to 0 to 1; the gradient passes unchanged."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.inplace:
            with torch.no_grad():  # so that the gradient passes
                x.clamp_(0, 1)
            return x
        y: torch.Tensor = ClampForward.apply(x)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"inplace={self.inplace}"


@converts("w2nn.InplaceClip01", traits=Traits(output="write", keeps_size=True))
def inplace_clip01(layer: Layer) -> Clip01:
    """w2nn.InplaceClip01(), of nagadomi/waifu2x

    The input is limited to 0 to 1, in place; the gradient passes unchanged.
    """
    return Clip01(inplace=True)


class ScaleEntry(nn.Module):
    """Multiplies the first entry of a list by the second, repeated to its size."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] * x[1].expand_as(x[0])


converts_to(ScaleEntry, "w2nn.ScaleTable", project="nagadomi/waifu2x", ignore=("grad_tmp", "scale"))


class AuxiliaryLossTable(nn.Module):
    """The list it is given in training, its entry `index` (0-based) in evaluation."""

    def __init__(self, index: int = 0) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        return list(x) if self.training else x[self.index].clone()

    def extra_repr(self) -> str:
        return f"{self.index}"


@converts("w2nn.AuxiliaryLossTable")
def auxiliary_loss_table(layer: Layer) -> AuxiliaryLossTable:
    """w2nn.AuxiliaryLossTable([i = 1]), of nagadomi/waifu2x"""
    layer.ignore("output_table", "output_tensor")
    return AuxiliaryLossTable(layer.integer("i", 1) - 1)


class ScaleBackward(torch.autograd.Function):
    """The input; its gradient is multiplied by a number."""

    @staticmethod
    def forward(x: torch.Tensor, factor: float) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, float], output: torch.Tensor) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.factor * grad, None


class CopyThatScalesGradient(nn.Module):
    """Copies its input; multiplies the gradient by `factor` on the way back."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = ScaleBackward.apply(x.clone(), self.factor)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


class ScaleGradient(nn.Module):
    """Returns its input; multiplies the gradient by `factor` on the way back."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = ScaleBackward.apply(x, self.factor)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


module_form("copying", ScaleGradient)(CopyThatScalesGradient)


@converts("w2nn.GradWeight", traits=Traits(output="copy", keeps_size=True, keeps_numbers=True))
def grad_weight(layer: Layer) -> ScaleGradient:
    """w2nn.GradWeight(constant_scalar), of nagadomi/waifu2x"""
    return ScaleGradient(layer.number("constant_scalar"))


@converts("w2nn.PrintTable", traits=Traits(reuses="nothing", safe_on_own_output=True, output="pass", flow="same"))
@converts("w2nn.Print", traits=Traits(output="copy", keeps_size=True, keeps_numbers=True))
def print_layer(layer: Layer) -> nn.Identity:
    """w2nn.Print(id), of nagadomi/waifu2x

    It becomes nn.Identity; nothing is printed.
    """
    layer.ignore("id")
    return nn.Identity()


class MixForward(torch.autograd.Function):
    """Mixes two tensors by the shares `alpha`; the gradient is mixed by other shares."""

    @staticmethod
    def forward(x: torch.Tensor, y: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        return (x * (1 - alpha) + y * alpha) * 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        ctx.save_for_backward(inputs[3])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        (beta,) = ctx.saved_tensors
        return grad * beta, grad * (1 - beta), None, None


class ShakeShake(nn.Module):
    """Adds the two entries of a list; in training in random shares, which differ on the way back."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        if not self.training:
            return x[0] + x[1]
        sizes = [x[0].shape[0], *[1] * (x[0].dim() - 1)]
        alpha, beta = x[0].new_empty(sizes).uniform_(), x[0].new_empty(sizes).uniform_()
        y: torch.Tensor = MixForward.apply(x[0], x[1], alpha, beta)  # type: ignore[no-untyped-call]
        return y


converts_to(
    ShakeShake,
    "w2nn.ShakeShakeTable",
    project="nagadomi/waifu2x",
    ignore=("alpha", "beta", "first", "second", "gradOutput"),
)


@converts("w2nn.EdgeFilter")
@converts("w2nn.RandomBinaryConvolution", traits=Traits(picture="weights"))
def fixed_convolution(layer: Layer) -> nn.Module:
    """w2nn.EdgeFilter(nInputPlane), of nagadomi/waifu2x

    A convolution of which Torch7 does not train the weight; here it can be trained. w2nn.RandomBinaryConvolution(
    nInputPlane, nOutputPlane, kW, kH, [kSparsity]) is another one.
    """
    layer.ignore("kSparsity")
    return spatial_convolution(layer)


class WithGradient(torch.autograd.Function):
    """A loss, given with its gradient."""

    @staticmethod
    def forward(x: torch.Tensor, loss: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        return loss.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None


class ClippedMSECriterion(nn.Module):
    """Mean squared error of the input limited to `low` to `high`; the gradient, half of it, passes the limits."""

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        error = x.detach().clamp(self.low, self.high) - target.reshape(x.shape)
        loss, gradient = (error * error).mean(), error / error.numel()
        result: torch.Tensor = WithGradient.apply(x, loss, gradient)  # type: ignore[no-untyped-call]
        return result

    def extra_repr(self) -> str:
        return f"low={self.low}, high={self.high}"


@converts("w2nn.ClippedMSECriterion", traits=CRITERION)
def clipped_mse_criterion(layer: Layer) -> ClippedMSECriterion:
    """w2nn.ClippedMSECriterion([min = 0], [max = 1]), of nagadomi/waifu2x

    As in Torch7 the gradient is half of the derivative, and is not zero beyond the limits.
    """
    layer.ignore("diff", "diff_pow2", "instance_loss")
    return ClippedMSECriterion(layer.number("min", 0.0), layer.number("max", 1.0))


class ClippedHuberCriterion(nn.Module):
    """Huber loss of the weighted error of the input limited to `low` to `high`; the gradient ignores both.

    Args:
        elements: how many weights there are, one for each number of a sample.
        low: lower limit of the input.
        high: upper limit of the input.
        gamma: from which error on the loss is linear.
    """

    weight: torch.Tensor

    def __init__(self, elements: int, low: float, high: float, gamma: float = 1.0) -> None:
        super().__init__()
        self.elements = elements
        self.low = low
        self.high = high
        self.gamma = gamma
        self.register_buffer("weight", torch.empty(elements))

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        error = x.detach().clamp(self.low, self.high) - target.reshape(x.shape)
        error = error * self.weight.reshape(x.shape[1:])
        size = error.abs()
        losses = torch.where(size < self.gamma, 0.5 * size * size, self.gamma * (size - 0.5 * self.gamma))
        gradient = error.clamp(-self.gamma, self.gamma) / error.numel()
        loss = losses.sum() / error.numel()
        result: torch.Tensor = WithGradient.apply(x, loss, gradient)  # type: ignore[no-untyped-call]
        return result

    def extra_repr(self) -> str:
        return f"{self.elements}, low={self.low}, high={self.high}, gamma={self.gamma}"


@converts("w2nn.ClippedWeightedHuberCriterion", traits=CRITERION)
def clipped_weighted_huber_criterion(layer: Layer) -> ClippedHuberCriterion:
    """w2nn.ClippedWeightedHuberCriterion(w, [gamma = 1], clip), of nagadomi/waifu2x

    As in Torch7 the gradient is that of the weighted error, not multiplied by the weight, and not zero beyond the
    limits.
    """
    layer.ignore("diff", "diff_abs", "square_loss_buff", "linear_loss_buff", "outlier_rate")
    low, high = layer.numbers("clip")
    weight = layer.tensor("weight").detach().reshape(-1)
    module = layer.make(ClippedHuberCriterion, weight.numel(), low, high, layer.number("gamma", 1.0))
    return layer.put(module, "weight", weight)


class L1Criterion(nn.Module):
    """Mean absolute error; of a vector only the first number has a target, as in Torch7."""

    def forward(self, x: torch.Tensor, target: torch.Tensor | float) -> torch.Tensor:
        if x.dim() == 1:
            error = torch.cat([x[:1] - torch.as_tensor(target, dtype=x.dtype, device=x.device).reshape(-1)[:1], x[1:]])
        else:
            error = x - torch.as_tensor(target).reshape(x.shape)
        return error.abs().sum() / error.numel()


@converts("w2nn.L1Criterion", traits=CRITERION)
def l1_criterion(layer: Layer) -> L1Criterion:
    """w2nn.L1Criterion(), of nagadomi/waifu2x

    The target of a vector is a single number, which its first number is compared with.
    """
    layer.ignore("diff", "linear_loss_buff")
    return L1Criterion()
