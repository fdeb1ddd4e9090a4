"""Package dpnn: small layers, and those that draw samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn import grad

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...parity.choices import Choice
from ..images.convolutions import padding_of, steps_of


class ArgMax(nn.Module):
    """The 1-based index of the maximum along a dimension.

    Args:
        dim: 0-based, not counting a batch.
        input_dims: dimensions of one sample; where there are more, the first is a batch.
        as_long: are the indices whole numbers?
    """

    def __init__(self, dim: int, input_dims: int, as_long: bool = True) -> None:
        super().__init__()
        self.dim = dim
        self.input_dims = input_dims
        self.as_long = as_long

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dim = self.dim + 1 if x.dim() > self.input_dims else self.dim
        indices = x.argmax(dim, keepdim=x.dim() == 1) + 1
        return indices if self.as_long else indices.to(x.dtype)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, input_dims={self.input_dims}, as_long={self.as_long}"


def _with_choice(
    module: ArgMax, x: torch.Tensor, scores: torch.Tensor, expected: torch.Tensor, slack: float
) -> torch.Tensor:
    """The reference's indices where they are of maxima."""
    own: torch.Tensor = module.forward(x)  # without the hooks that watch it
    dim = module.dim + 1 if x.dim() > module.input_dims else module.dim
    size = x.shape[dim]
    places = expected.long() - 1
    there = (places >= 0) & (places < size)
    picked = scores.gather(dim, places.clamp(0, size - 1).reshape(scores.amax(dim, keepdim=True).shape))
    as_good = (picked >= scores.amax(dim, keepdim=True) - slack).reshape(own.shape)
    return torch.where(as_good & there, expected, own)


module_form("choice", ArgMax)(Choice(_with_choice))


@converts("nn.ArgMax")
def arg_max(layer: Layer) -> ArgMax:
    """nn.ArgMax([dim = 1], [nInputDim], [asLong = true])"""
    layer.ignore("_value", "_indices")
    return ArgMax(layer.integer("dim", 1) - 1, layer.integer("nInputDim", 9999), layer.flag("asLong", True))


class StraightThroughClip(torch.autograd.Function):
    """Clips on the way forward; passes every gradient on the way back."""

    @staticmethod
    def forward(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return x.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is needed."""

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient, None, None


class Clip(nn.Module):
    """Numbers between two bounds; the gradient passes also where they were beyond."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_exporting():
            return x.clamp(self.low, self.high)
        clipped: torch.Tensor = StraightThroughClip.apply(x, self.low, self.high)  # type: ignore[no-untyped-call]
        return clipped

    def extra_repr(self) -> str:
        return f"{self.low}, {self.high}"


@converts("nn.Clip", traits=Traits(safe_on_own_output=True))
def clip(layer: Layer) -> Clip:
    """nn.Clip(minval, maxval)

    The gradient passes also where the input is beyond the bounds.
    """
    layer.ignore("_mask", "_byte")
    return Clip(layer.number("minval"), layer.number("maxval"))


class FeatNorm(nn.Module):
    """Subtracts a mean from each plane and divides by a deviation; both are constants."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.planes = planes
        self.register_buffer("mean", torch.empty(planes))
        self.register_buffer("std", torch.empty(planes))
        self.mean: torch.Tensor
        self.std: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean.reshape(-1, 1, 1)) / self.std.reshape(-1, 1, 1)

    def extra_repr(self) -> str:
        return f"{self.planes}"


@converts("nn.SpatialFeatNormalization", traits=Traits(reads="images", keeps_size=True))
def spatial_feat_normalization(layer: Layer) -> FeatNorm:
    """nn.SpatialFeatNormalization(mean, [std])"""
    layer.ignore("noOfFeats")
    module = layer.make(FeatNorm, layer.tensor("mean").numel())
    layer.put(module, "mean", layer.tensor("mean").detach())
    return layer.put(module, "std", layer.tensor("std").detach())


class BinaryConvolution(torch.autograd.Function):
    """Convolves with the signs of a weight, scaled by its mean size; gradients as of XNOR-Net in Torch7."""

    @staticmethod
    def forward(
        x: torch.Tensor, weight: torch.Tensor, stride: list[int], padding: list[int], training: bool
    ) -> torch.Tensor:
        signs = torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)
        return F.conv2d(x, signs, None, stride, padding) * weight.abs().mean((1, 2, 3))[:, None, None]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, weight, ctx.stride, ctx.padding, ctx.training = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        x, weight = ctx.saved_tensors
        # Torch7 keeps the signs in the place of the weight only while it trains
        used = torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype) if ctx.training else weight
        grad_x = grad.conv2d_input(x.shape, used, gradient, ctx.stride, ctx.padding)  # type: ignore[no-untyped-call]
        grad_x = grad_x * weight.abs().mean((0, 2, 3))[:, None, None]
        grad_weight = grad.conv2d_weight(x, weight.shape, gradient, ctx.stride, ctx.padding)  # type: ignore[no-untyped-call]
        return grad_x, grad_weight, None, None, None


class BinaryConv2d(nn.Module):
    """Convolution of images (N, C, H, W) or (C, H, W) with the signs of its weight, times the mean size of each filter.

    Args:
        in_channels, out_channels: planes.
        kernel_size, stride, padding: rows and columns.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *kernel_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        images = x if x.dim() == 4 else x.unsqueeze(0)
        stride, padding = list(self.stride), list(self.padding)
        y: torch.Tensor
        if torch.compiler.is_exporting():
            signs = torch.where(self.weight >= 0, 1.0, -1.0).to(x.dtype)
            y = F.conv2d(images, signs, None, stride, padding) * self.weight.abs().mean((1, 2, 3))[:, None, None]
        else:
            arguments = (images, self.weight, stride, padding, self.training)
            y = BinaryConvolution.apply(*arguments)  # type: ignore[no-untyped-call]
        return y if x.dim() == 4 else y.squeeze(0)

    def extra_repr(self) -> str:
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{self.in_channels}, {self.out_channels}, {sizes}"


@converts("nn.SpatialBinaryConvolution", traits=Traits(reads="images", picture="weights"))
def spatial_binary_convolution(layer: Layer) -> BinaryConv2d:
    """nn.SpatialBinaryConvolution(nInputPlane, nOutputPlane, kW, kH, [dW], [dH], [padW], [padH])

    Its gradients are no derivatives: they pass the signs by, and are scaled as Torch7 does.
    """
    layer.ignore("iwh", "owh", "tempWeight", "wmask", "alphas", "gradInputAlphas", "_tempAlphas", "_tempAlphasExpanded")
    layer.ignore("_tempAlphasSamples", "_tempGradAlphas", "_tempGradAlphasExpanded", "_tempGradAlphasSamples")
    layer.ignore("nInputPlane", "nOutputPlane")
    axes = ("H", "W")
    kernel = list(steps_of(layer, "k", *axes))
    outputs = layer.integer("nOutputPlane")
    weight = layer.tensor("weight").reshape(outputs, -1, *kernel)
    module = layer.make(
        BinaryConv2d,
        weight.shape[1],
        outputs,
        kernel,
        list(steps_of(layer, "d", *axes)),
        list(padding_of(layer, *axes)),
    )
    return layer.put(module, "weight", weight)
