"""Binary networks: allenai/XNOR-Net, juefeix/lbcnn.torch, itayhubara/BinaryNet and 1adrianb/bnn.torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from ..images.convolutions import IMAGE_WEIGHTS, make_convolution, spatial_convolution
from ..linear.linear import LINEAR
from .generation.generative import no_other_fields

ACTIVATION = Traits(keeps_size=True, picture="activation")
NORMALIZATION = Traits(keeps_size=True, picture="normalization")


class BinaryBackward(torch.autograd.Function):
    """The sign; the gradient passes where the input lies between -1 and 1."""

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.sign()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return torch.where((x < 1) & (x > -1), grad, torch.zeros_like(grad))


class BinaryActivation(nn.Module):
    """The sign of its input, 0 of 0; the gradient passes where the input lies between -1 and 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_exporting():
            return x.sign()
        y: torch.Tensor = BinaryBackward.apply(x)  # type: ignore[no-untyped-call]
        return y


@converts("nn.BinActiveZ", traits=ACTIVATION)
def bin_active_z(layer: Layer) -> BinaryActivation:
    """nn.BinActiveZ(), of allenai/XNOR-Net

    The sign; the gradient passes where the input lies between -1 and 1.
    """
    return BinaryActivation()


class SignInPlace(torch.autograd.Function):
    """Turns the input into its sign; the gradient passes where that is 0."""

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.sign_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        ctx.mark_dirty(inputs[0])
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (y,) = ctx.saved_tensors
        return torch.where(y == 0, grad, torch.zeros_like(grad))


class SignOfInput(nn.Module):
    """The sign of its input, in evaluation written into the input itself; the gradient passes where that is 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            if torch.compiler.is_exporting():
                return x.sign_()
            sign: torch.Tensor = SignInPlace.apply(x)  # type: ignore[no-untyped-call]
            return sign
        y: torch.Tensor = BinaryBackward.apply(x)  # type: ignore[no-untyped-call]
        return y


@converts("bnn.Binary", traits=Traits(keeps_size=True, picture="activation", output="write", reuses="nothing"))
def bnn_binary(layer: Layer) -> SignOfInput:
    """bnn.Binary(), of 1adrianb/bnn.torch

    The sign, in evaluation written into the input; in training the gradient passes where the input lies between -1
    and 1.
    """
    return SignOfInput()


class PackedConv2d(nn.Module):
    """A convolution of signs (0 counts as -1, and so does what is beyond the border) with weights of 1 and -1.

    Args:
        in_channels, out_channels: planes.
        kernel_size, stride, padding: rows and columns.
    """

    weight: torch.Tensor
    alphas: torch.Tensor

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
        self.register_buffer("weight", torch.empty(out_channels, in_channels, *kernel_size))
        self.register_buffer("alphas", torch.empty(out_channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = self.padding
        signs = torch.where(x > 0, 1.0, -1.0).to(x.dtype)
        padded = functional.pad(signs, (columns, columns, rows, rows), value=-1.0)
        return functional.conv2d(padded, self.weight, None, list(self.stride)) * self.alphas.reshape(-1, 1, 1)

    def extra_repr(self) -> str:
        named = ("in_channels", "out_channels", "kernel_size", "stride", "padding")
        return ", ".join(f"{name}={getattr(self, name)}" for name in named)


PACKED = Traits(reads="images", picture="weights", unproven="its source is CUDA, and needs a GPU")


@converts("bnn.SpatialConvolution", traits=PACKED)
def bnn_convolution(layer: Layer) -> PackedConv2d:
    """bnn.SpatialConvolution(nInputPlane, nOutputPlane, kW, kH, [dW], [dH], [padW], [padH]), of 1adrianb/bnn.torch

    Its weight holds 32 signs in each number. It never trains; the weight and alphas are buffers.
    """
    layer.ignore("columns_binary")
    inputs, outputs = layer.integer("nInputPlane"), layer.integer("nOutputPlane")
    kernel = (layer.integer("kH"), layer.integer("kW"))
    packed = layer.tensor("weight").detach()
    if packed.dtype != torch.int32 or packed.numel() * 32 != outputs * inputs * kernel[0] * kernel[1]:
        layer.refuse("its weight does not hold 32 signs in each number: it was never made binary (binarise)")
    bits = (packed.reshape(-1, 1) >> torch.arange(32, dtype=torch.int32)) & 1
    alphas = layer.tensor("alphas").detach().reshape(-1)
    signs = (2 * bits - 1).to(alphas.dtype).reshape(outputs, inputs, *kernel)
    stride, padding = (layer.integer("dH"), layer.integer("dW")), (layer.integer("padH"), layer.integer("padW"))
    module = layer.make(PackedConv2d, inputs, outputs, kernel, stride, padding)
    layer.put(module, "weight", signs)
    return layer.put(module, "alphas", alphas)


@converts("cudnn.RandomBinaryConvolution", traits=Traits(reads="images", picture="weights"))
def random_binary_convolution(layer: Layer) -> nn.Module:
    """cudnn.RandomBinaryConvolution(nInputPlane, nOutputPlane, kW, kH, [dW], [dH], [padW], [padH])

    Of juefeix/lbcnn.torch. A convolution without bias; Torch7 does not train its weight, here it can be trained.
    """
    return spatial_convolution(layer)


class StraightThrough(torch.autograd.Function):
    """Gives `rounded`; the gradient goes to `x` as if it were x."""

    @staticmethod
    def forward(x: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
        return rounded.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor) -> None:
        """Nothing is needed."""

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad, None


class BinarizedNeurons(nn.Module):
    """The sign, with the gradient of the identity; with `stochastic`, in training, a random one of the two signs."""

    def __init__(self, stochastic: bool = False) -> None:
        super().__init__()
        self.stochastic = stochastic

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle: Any = torch.rand_like(x) if self.training and self.stochastic else 0.5
        sign: torch.Tensor = ((x + 1) / 2 - middle).sign()
        if torch.compiler.is_exporting():
            return sign
        y: torch.Tensor = StraightThrough.apply(x, sign)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"stochastic={self.stochastic}"


@converts("BinarizedNeurons", "nn.Binarize", traits=ACTIVATION)
def binarized_neurons(layer: Layer) -> BinarizedNeurons:
    """BinarizedNeurons([stcFlag]), of itayhubara/BinaryNet; nn.Binarize([stcFlag]), of iassael/learning-to-communicate

    The sign, 0 where 1 + x rounds to 1; the gradient passes unchanged. With stcFlag, in training, a random sign.
    """
    layer.ignore("randmat", "outputR")
    module = BinarizedNeurons(layer.flag("stcFlag", default=False))
    no_other_fields(layer)
    return module


def binary(weight: torch.Tensor, stochastic: bool) -> torch.Tensor:
    """The signs of a weight (1 for 0) with the weight's gradient; `stochastic`: what BinaryNet takes in training."""
    half = (weight + 1) / 2
    rounded = half.clamp(0, 1) - torch.rand_like(half) if stochastic else torch.where(half >= 0.5, 1.0, -1.0)
    rounded = rounded.to(weight.dtype)
    if torch.compiler.is_exporting():
        return rounded
    signs: torch.Tensor = StraightThrough.apply(weight, rounded.detach())  # type: ignore[no-untyped-call]
    return signs


class BinaryLinear(nn.Module):
    """A linear layer with the signs of its weight; the weight gets the gradient of its signs.

    Args:
        in_features, out_features: sizes.
        bias: is there a bias?
        stochastic: in training, take random numbers between the sign and its opposite.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, stochastic: bool = False) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.stochastic = stochastic
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, binary(self.weight, self.training and self.stochastic), self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, stochastic={self.stochastic}"


class BinaryWeightConv2d(nn.Module):
    """A convolution with the signs of its weight; the weight gets the gradient of its signs.

    Args:
        in_channels, out_channels, groups: planes, and of how many groups.
        kernel_size, stride, padding: rows and columns.
        bias: is there a bias?
        stochastic: in training, take random numbers between the sign and its opposite.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        groups: int = 1,
        bias: bool = True,
        stochastic: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.groups = groups
        self.stochastic = stochastic
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = binary(self.weight, self.training and self.stochastic)
        stride, padding = list(self.stride), list(self.padding)
        return functional.conv2d(x, weight, self.bias, stride, padding, groups=self.groups)

    def extra_repr(self) -> str:
        named = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "groups", "stochastic")
        return ", ".join(f"{name}={getattr(self, name)}" for name in named)


def is_stochastic(layer: Layer) -> bool:
    """Does it draw random weights in training? Buffers of the weight are ignored."""
    layer.ignore("weightB", "weightOrg", "maskStc", "randmat", "binaryFlag")
    return layer.flag("stcWeights", default=False)


@converts("BinaryLinear", traits=LINEAR)
def binary_linear(layer: Layer) -> BinaryLinear:
    """BinaryLinear(inputSize, outputSize, [stcWeights]), of itayhubara/BinaryNet

    A linear layer with the signs of its weight, 1 for 0.
    """
    outputs, inputs = layer.tensor("weight").shape
    module = layer.make(BinaryLinear, inputs, outputs, layer.has("bias"), is_stochastic(layer))
    return layer.put_all(module, "weight", "bias")


@converts("BinarySpatialConvolution", "cudnnBinarySpatialConvolution", traits=IMAGE_WEIGHTS)
def binary_spatial_convolution(layer: Layer) -> nn.Module:
    """BinarySpatialConvolution(nInputPlane, nOutputPlane, kW, kH, [dW], [dH], [padW], [padH])

    Of itayhubara/BinaryNet: a convolution with the signs of its weight, 1 for 0.
    """
    return make_convolution(layer, BinaryWeightConv2d, ("H", "W"), stochastic=is_stochastic(layer))


class ShiftNorm(nn.Module):
    """Subtracts a running mean of each plane and multiplies by a power of 2; then the same of a weight, and a bias.

    Args:
        num_features: planes, in the second dimension.
        eps: added to the variance in training.
        momentum: share of a batch in the running statistics.
        affine: are there a weight and a bias?
    """

    running_mean: torch.Tensor
    running_std: torch.Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.125, affine: bool = True) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.register_buffer("running_mean", torch.empty(num_features))
        self.register_buffer("running_std", torch.empty(num_features))
        self.weight = nn.Parameter(torch.empty(num_features)) if affine else None
        self.bias = nn.Parameter(torch.empty(num_features)) if affine else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sizes = (-1, *[1] * (x.dim() - 2))
        if self.training:
            dims = [0, *range(2, x.dim())]
            mean = x.mean(dims)
            away = x - mean.reshape(sizes)
            inverse = ((away * self.power(away).detach()).mean(dims) + self.eps).sqrt().reciprocal()
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_std.lerp_(inverse, self.momentum)
            y = away * self.power(inverse).detach().reshape(sizes)
        else:
            y = (x - self.running_mean.reshape(sizes)) * self.power(self.running_std).reshape(sizes)
        if self.weight is None or self.bias is None:
            return y
        return y * self.power(self.weight).reshape(sizes) + self.bias.reshape(sizes)

    def power(self, x: torch.Tensor) -> torch.Tensor:
        """The power of 2 that is nearest in its exponent, with the sign of x; 0 of 0."""
        return 2 ** (x.abs().log() / math.log(2)).round() * x.sign()

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"


@converts("BatchNormalizationShiftPow2", "SpatialBatchNormalizationShiftPow2", traits=NORMALIZATION)
def shift_norm(layer: Layer) -> ShiftNorm:
    """BatchNormalizationShiftPow2(nOutput, [runningVal], [eps = 1e-5], [momentum = 0.125], [affine]), of BinaryNet

    A batch normalization by powers of 2 (itayhubara/BinaryNet); running_std holds the inverse of the deviation.
    """
    layer.ignore("weight_ap2", "weightSign", "running_std_ap2", "runningVal", "affine")
    layer.ignore(
        "centered", "centerSign", "centeredSign", "centeredOrg", "std", "normalized", "normalizedSign", "buffer2"
    )
    if not layer.has("running_mean"):
        layer.refuse("it never ran in training, and so it has no statistics")
    affine = layer.has("weight")
    module = layer.make(
        ShiftNorm, layer.tensor("running_mean").numel(), layer.number("eps"), layer.number("momentum"), affine
    )
    layer.put(module, "running_mean", layer.tensor("running_mean").detach())
    layer.put(module, "running_std", layer.tensor("running_std").detach())
    return layer.put_all(module, "weight", "bias")
