"""Layers of facebook/fbnn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts, converts_to
from ...model.traits import Traits
from ...t7 import LuaObject, Tensor
from ..images.convolutions_temporal import TemporalConv1d, temporal
from ..images.upsampling import NearestUpsample
from ..linear.weights import WEIGHTS
from ..pointwise.activations import ACTIVATION

PROJECT = "facebook/fbnn"


class RepeatedConstant(nn.Module):
    """Gives a value once for each sample, whatever the samples are."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = list(size)
        self.register_buffer("value", torch.empty(self.size))
        self.value: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value.expand(x.shape[0], *self.size).clone()

    def extra_repr(self) -> str:
        return f"{self.size}"


@converts("fbnn.Constant")
def constant(layer: Layer) -> RepeatedConstant:
    """fbnn.Constant(value), of facebook/fbnn

    Gives the value, a number or a tensor, once for each sample. The input gets no gradient.
    """
    module = layer.make(RepeatedConstant, list(layer.tensor("value").shape))
    return layer.put(module, "value", layer.tensor("value").detach())


class L2Normalize(nn.Module):
    """Divides each row by its length; a row of zeros gives NaN, as in Torch7."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length: torch.Tensor = x.norm(2, -1, keepdim=True)
        return x / length


converts_to(
    L2Normalize,
    "fbnn.L2Normalize",
    project=PROJECT,
    ignore=("norms",),
    traits=Traits(keeps_size=True, most_dims=2, picture="normalization"),
)


class FixedPReLU(nn.Module):
    """A leaky ReLU whose slope is a parameter that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, x * self.weight.detach())


@converts("fbnn.LeakyReLU", traits=ACTIVATION)
def leaky_relu(layer: Layer) -> FixedPReLU:
    """fbnn.LeakyReLU(p), of facebook/fbnn

    A leaky ReLU with the slope p, which parameters() lists, but which is not trained.
    """
    layer.ignore("nOutputPlane", "gradWeightBuf", "gradWeightBuf2")
    return layer.put(layer.make(FixedPReLU), "weight")


class NormalizedLinear(nn.Module):
    """A linear layer that in training first scales its weight, in place, to the norm sqrt(out_features).

    Its bias, zero if nobody has set it, is not trained.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            with torch.no_grad():
                self.weight.mul_(self.out_features**0.5 / self.weight.norm())
        return F.linear(x, self.weight, self.bias.detach())

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"


@converts("fbnn.NormalizedLinearNoBias", traits=WEIGHTS)
def normalized_linear_no_bias(layer: Layer) -> NormalizedLinear:
    """fbnn.NormalizedLinearNoBias(inputSize, outputSize), of facebook/fbnn

    In training each call scales the whole weight to the norm sqrt(outputSize). The bias is added, but not trained.
    """
    layer.ignore("addBuffer")
    outputs, inputs = layer.tensor("weight").shape
    return layer.put_all(layer.make(NormalizedLinear, inputs, outputs), "weight", "bias")


class LinearNoBackprop(nn.Module):
    """A linear layer whose input gets no gradient."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x.detach(), self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


@converts("nn.LinearNoBackprop", traits=WEIGHTS)
def linear_no_backprop(layer: Layer) -> LinearNoBackprop:
    """nn.LinearNoBackprop(inputSize, outputSize), of facebook/fbnn

    A linear layer; the gradient of its input is zero.
    """
    layer.ignore("addBuffer")
    outputs, inputs = layer.tensor("weight").shape
    module = layer.make(LinearNoBackprop, inputs, outputs, bias=layer.has("bias"))
    return layer.put_all(module, "weight", "bias")


class RemoveRadialGradient(torch.autograd.Function):
    """The input; its gradient loses the part that points along the input."""

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = ctx.saved_tensors[0]
        length: torch.Tensor = x.norm()
        direction = x / torch.where(length == 0, 1, length)  # of zeros there is none: the gradient stays as it is
        return grad - direction * (direction * grad).sum()


class ProjectiveGradientNormalization(nn.Module):
    """Copies its input; the gradient of the whole batch loses the part that points along the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = RemoveRadialGradient.apply(x)  # type: ignore[no-untyped-call]
        return y


converts_to(
    ProjectiveGradientNormalization,
    "fbnn.ProjectiveGradientNormalization",
    project=PROJECT,
    ignore=("eps",),
    traits=Traits(keeps_size=True, keeps_numbers=True, safe_on_own_output=True),
)


@converts("nn.Upsample", traits=Traits(reads="images", picture="pooling"))
def upsample(layer: Layer) -> NearestUpsample:
    """nn.Upsample(factor), of facebook/fbnn

    Repeats each pixel of an image.
    """
    layer.ignore("buffer")
    return NearestUpsample(layer.integer("factor"))


@converts("nn.UnfoldedTemporalConvolution", traits=Traits(reads="frames", picture="weights", zeros_by_chance=True))
def unfolded_temporal_convolution(layer: Layer) -> TemporalConv1d:
    """nn.UnfoldedTemporalConvolution(nin, nout, kW, [dW = 1], [pad = 0]), of facebook/fbnn

    nn.TemporalConvolution with zeros before and behind each sequence.
    """
    linear = layer.value("linear")
    for name in ("weight", "bias"):
        own, used = layer.value(name, None), linear.get(name) if isinstance(linear, LuaObject) else None
        if not _same_memory(own, used):
            layer.refuse(f"its {name} is not that of its linear layer, with which Torch7 computes")
    layer.ignore("_paddedInput", "_paddedGradInput", "_unfoldedInput", "_linearGradOutput", "_unfoldedGradInput")
    return temporal(layer, layer.integer("kW"), layer.integer("dW", 1), layer.integer("pad", 0))


def _same_memory(a: Any, b: Any) -> bool:
    """Are both tensors the same numbers in memory, or both missing?"""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return a is b
    return a.storage is b.storage and a.offset == b.offset
