"""Layers that projects of autoencoders, generators and residual networks defined beside their models."""

from __future__ import annotations

import ast
import math
from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts, module_form
from ....model.traits import Traits
from ....source.expressions import Variable, python
from ...images.convolutions import spatial_convolution
from ...pointwise.softmax import SoftMax
from ...recurrent.masks import AddLoss


def no_other_fields(layer: Layer) -> None:
    """Refuses a class of the same name that keeps more: classes without settings are told apart by that alone."""
    if layer.unread:
        layer.refuse(f"it has fields that the class known by this name has not: {', '.join(layer.unread)}")


class KLDPenalty(nn.Module):
    """Returns its input, [mean, log of the variance]; the gradient gets that of the divergence from a normal one."""

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        if torch.compiler.is_exporting():
            return x
        mean, log_var = x
        loss = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum()
        share = loss / 2  # each entry brings the half of it back
        return [AddLoss.apply(mean, share), AddLoss.apply(log_var, share)]  # type: ignore[no-untyped-call]


@converts("nn.KLDPenalty")
def kld_penalty(layer: Layer) -> KLDPenalty:
    """nn.KLDPenalty(), of y0ast/VAE-Torch"""
    layer.ignore("loss")
    no_other_fields(layer)
    return KLDPenalty()


class NormalSample(nn.Module):
    """A sample of the normal distribution with [mean, log of the variance], in evaluation too."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        mean, log_var = x
        return mean + (0.5 * log_var).exp() * torch.randn_like(mean)


@converts("nn.Sampler", traits=Traits(random=True))
def sampler(layer: Layer) -> NormalSample:
    """nn.Sampler(), of y0ast/VAE-Torch"""
    layer.ignore("eps", "ouput")
    no_other_fields(layer)
    return NormalSample()


class GaussianCriterion(nn.Module):
    """Negative log likelihood of the target under the normal distribution with [mean, log of the variance], summed."""

    def forward(self, x: list[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        mean, log_var = x
        away = (target - mean).square() / log_var.exp()
        return (0.5 * (log_var + math.log(2 * math.pi) + away)).sum()


@converts("nn.GaussianCriterion", traits=Traits(criterion=True))
def gaussian_criterion(layer: Layer) -> GaussianCriterion:
    """nn.GaussianCriterion(), of y0ast/VAE-Torch

    Other authors' classes of that name, which no field tells apart, give the log likelihood itself, or another factor.
    """
    no_other_fields(layer)
    layer.note(
        "it gives the negative log likelihood, as y0ast/VAE-Torch's; others of that name (willwhitney/dc-ign) give it "
        "without the sign, and no field tells them apart: --lua-first nn.GaussianCriterion takes the author's Lua"
    )
    return GaussianCriterion()


class BatchTopK(nn.Module):
    """In training keeps, of each column of a batch, a share of the numbers and zeroes the others.

    Args:
        k: the share that is kept, rounded up to whole samples.
        largest: keep the largest numbers rather than the smallest.
    """

    def __init__(self, k: float, largest: bool) -> None:
        super().__init__()
        self.k = k
        self.largest = largest

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        values, indices = torch.topk(x, math.ceil(self.k * x.shape[0]), 0, self.largest)
        return torch.zeros_like(x).scatter(0, indices, values)

    def extra_repr(self) -> str:
        return f"k={self.k}, largest={self.largest}"


@converts("nn.BatchTopK")
def batch_top_k(layer: Layer) -> BatchTopK:
    """nn.BatchTopK([k = 1], [flag = false]), of Kaixhin/Autoencoders

    Without the flag Torch7's topk keeps the smallest numbers.
    """
    layer.ignore("buffer", "indices")
    return BatchTopK(layer.number("k"), layer.flag("flag", default=False))


class NormalNoise(nn.Module):
    """Normal random numbers in place of its input, in evaluation too."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean = mean
        self.std = std

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.randn_like(x.detach()) * self.std + self.mean

    def extra_repr(self) -> str:
        return f"mean={self.mean}, std={self.std}"


@module_form("python", NormalNoise)
def _noise(module: NormalNoise, x: Variable) -> ast.expr:
    noise = python("torch.randn_like(x)", x=x)
    scaled = noise if module.std == 1 else python("noise * std", noise=noise, std=module.std)
    return scaled if module.mean == 0 else python("noise + mean", noise=scaled, mean=module.mean)


@converts("nn.Gaussian", traits=Traits(random=True))
def gaussian(layer: Layer) -> NormalNoise:
    """nn.Gaussian([mean = 0], [stdv = 1]), of Kaixhin/Autoencoders"""
    module = NormalNoise(layer.number("mean"), layer.number("stdv"))
    no_other_fields(layer)
    return module


class UniformNoise(nn.Module):
    """Uniform random numbers between `low` and `high` in place of its input, in evaluation too."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.rand_like(x.detach()) * (self.high - self.low) + self.low

    def extra_repr(self) -> str:
        return f"low={self.low}, high={self.high}"


@converts("nn.Uniform", traits=Traits(random=True))
def uniform(layer: Layer) -> UniformNoise:
    """nn.Uniform([a = 0], [b = 1]), of Kaixhin/Autoencoders"""
    module = UniformNoise(layer.number("a"), layer.number("b"))
    no_other_fields(layer)
    return module


class ResidualDrop(nn.Module):
    """A shortcut plus a branch, which in evaluation counts as often as it survived in training.

    Args:
        branch: the branch.
        shortcut: the shortcut.
        survival: the share of training in which the branch was there.
        gate: is the branch there in training? Whoever trains opens and shuts it.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module, survival: float, gate: bool = True) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.survival = survival
        self.gate = gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.shortcut(x)
        if not self.training:
            y = y + self.survival * self.branch(x)
        elif self.gate:
            y = y + self.branch(x)
        return y

    def extra_repr(self) -> str:
        return f"survival={self.survival}, gate={self.gate}"


@converts("nn.ResidualDrop")
def residual_drop(layer: Layer) -> ResidualDrop:
    """nn.ResidualDrop(deathRate, nChannels, [nOutChannels], [stride]), of yueatsprograms/Stochastic_Depth

    In training the attribute `gate` says whether the branch is there, as in Torch7, where the script sets it.
    """
    layer.ignore("net", "skip")
    branch, shortcut = layer.modules()
    return ResidualDrop(branch, shortcut, 1 - layer.number("deathRate"), layer.flag("gate", default=True))


class FoldPlanes(nn.Module):
    """Reads the numbers of (…, C, H, W) in their order as an image of fewer planes, `factor` times as high and wide."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        planes, height, width = x.shape[-3:]
        size = (planes // self.factor**2, height * self.factor, width * self.factor)
        return x.reshape(*x.shape[:-3], *size)

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


@converts("nn.SpatialConvolutionUpsample", traits=Traits(reads="images", picture="weights"))
@converts("cudnn.SpatialConvolutionUpsample", traits=Traits(reads="images"))
def spatial_convolution_upsample(layer: Layer) -> nn.Sequential:
    """nn.SpatialConvolutionUpsample(nInputPlane, nOutputPlane, kW, kH, [factor = 2]), of facebook/eyescream

    The planes of the convolution are read in their order as larger ones, which is no pixel shuffle.
    """
    layer.ignore("nInputPlaneU", "nOutputPlaneU", "h", "w")
    return nn.Sequential(spatial_convolution(layer), FoldPlanes(layer.integer("factor")))


class MaskedSoftMax(nn.Module):
    """Softmax of the first entry of a list, whose numbers count as -9999999 where the second is not zero."""

    def __init__(self) -> None:
        super().__init__()
        self.softmax = SoftMax()

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        scores, mask = x
        masked = scores - scores.detach() - 9999999  # the gradient still passes
        y: torch.Tensor = self.softmax(torch.where(mask != 0, masked, scores))
        return y


@converts("nn.maskSoftMax", "nn.MaskSoftMax", traits=Traits(picture="activation"))
def mask_soft_max(layer: Layer) -> MaskedSoftMax:
    """nn.maskSoftMax(), of jiasenlu/HieCoAttenVQA; nn.MaskSoftMax(), of batra-mlp-lab/visdial

    Torch7 writes the masked numbers into the input itself.
    """
    layer.ignore("dummy_out")
    no_other_fields(layer)
    return MaskedSoftMax()


class Inspiration(nn.Module):
    """Multiplies the planes of (…, C, H, W) by the transpose of a matrix times the Gram matrix of a style.

    Args:
        planes: number of planes.
    """

    target: torch.Tensor

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.planes = planes
        self.weight = nn.Parameter(torch.empty(planes, planes))
        self.register_buffer("target", torch.empty(planes, planes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = (self.weight @ self.target).t() @ x.flatten(-2)
        return y.reshape(x.shape)

    def extra_repr(self) -> str:
        return f"{self.planes}"


@converts("nn.Inspiration")
def inspiration(layer: Layer) -> Inspiration:
    """nn.Inspiration(C), of zhanghang1989/MSG-Net

    The style is the buffer `target`, which Torch7 sets by setTarget.
    """
    layer.ignore("P", "MM_PX", "MM_WG", "gradWG", "gradPX")
    module = layer.make(Inspiration, layer.integer("C"))
    layer.put(module, "weight", field="Weight")
    return layer.put(module, "target")


class ShakeShakeTable(nn.Module):
    """Of three entries returns the first, and shares of the others: halves, or in training random ones.

    Args:
        forward_shake: random shares in training.
        backward_shake: random shares on the way back.
        shake_image: for each image by itself.
    """

    def __init__(self, forward_shake: bool, backward_shake: bool, shake_image: bool) -> None:
        super().__init__()
        self.forward_shake = forward_shake
        self.backward_shake = backward_shake
        self.shake_image = shake_image

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        if not self.training:
            return [x[0], x[1] / 2, x[2] / 2]
        alpha, beta = self.shares(x[1], self.forward_shake), self.shares(x[1], self.backward_shake)
        return [x[0], self.share(x[1], alpha, beta), self.share(x[2], 1 - alpha, 1 - beta)]

    def shares(self, x: torch.Tensor, shake: bool) -> torch.Tensor:
        sizes = [x.shape[0] if self.shake_image else 1, *[1] * (x.dim() - 1)]
        return x.new_empty(sizes).uniform_() if shake else x.new_full(sizes, 0.5)

    def share(self, x: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        """The share `alpha` of x, whose gradient is that of `beta`."""
        return beta * x + ((alpha - beta) * x).detach()

    def extra_repr(self) -> str:
        names = ("forward_shake", "backward_shake", "shake_image")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


@converts("nn.ShakeShakeTable")
def shake_shake_table(layer: Layer) -> ShakeShakeTable:
    """nn.ShakeShakeTable(constant, forwardShake, backwardShake, shakeImage, batchSize), of xgastaldi/shake-shake

    Batches may be of any size.
    """
    layer.ignore("batchSize", "constant_tensor", "alpha", "beta")
    forward, backward, image = (layer.text(name) == "true" for name in ("forwardShake", "backwardShake", "shakeImage"))
    return ShakeShakeTable(forward, backward, image)


class ShakeShakeBlock(nn.Module):
    """A shortcut plus shares of two branches: halves, or in training random ones.

    Args:
        shortcut: the shortcut.
        branches: two modules.
        shake: gives the shares.
    """

    def __init__(self, shortcut: nn.Module, branches: list[nn.Module], shake: nn.Module) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.branches = nn.ModuleList(branches)
        self.shake = shake

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.shortcut(x).clone()  # the branches may write into x
        shared: list[torch.Tensor] = self.shake([y, *(branch(x) for branch in self.branches)])
        return shared[0] + shared[1] + shared[2]


@converts("nn.ShakeShakeBlock", traits=Traits(children=("net1", "net2", "skip"), reads="images"))
def shake_shake_block(layer: Layer) -> ShakeShakeBlock:
    """nn.ShakeShakeBlock(nInputPlane, nOutputPlane, stride, forwardShake, backwardShake, …), of xgastaldi/shake-shake

    A shortcut plus the halves of two branches; in training with random shares. Batches may be of any size.
    """
    layer.ignore("modules", "batchSize", "alpha", "beta")
    branches: list[nn.Module] = []
    for name in ("net1", "net2"):
        held = layer.value(name).get("modules").list()
        if [child.typename for child in held[-1:]] not in (["nn.MulConstant"], ["nn.MulConstantSlices"]):
            layer.refuse(f"its {name} does not end in a layer that takes a share of it")
        branches.append(nn.Sequential(*(layer.convert(child, f"{name}.{i}") for i, child in enumerate(held[:-1], 1))))
    forward, backward, image = (layer.text(name) == "true" for name in ("forwardShake", "backwardShake", "shakeImage"))
    return ShakeShakeBlock(layer.module("skip"), branches, ShakeShakeTable(forward, backward, image))


class AddToEach(nn.Module):
    """Adds the first entry of a list to each of the entries of the second; returns the list of the sums."""

    def forward(self, x: list[Any]) -> list[torch.Tensor]:
        return [entry + x[0] for entry in x[1]]


@converts("nn.MultiSkipAdd")
def multi_skip_add(layer: Layer) -> AddToEach:
    """nn.MultiSkipAdd(inplace), of limbee/NTIRE2017"""
    layer.ignore("inplace")
    no_other_fields(layer)
    return AddToEach()
