"""Layers of autoencoders and generators that draw noise, and penalties on what they code: several small projects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts, converts_to
from ....model.traits import Traits
from ....t7 import LuaTable
from ...linear.linear import LINEAR, linear
from ...recurrent.masks import AddLoss
from ...tables.table_layers import OPERANDS, MultiplyEntries
from ..binarized import StraightThrough
from ..vision.upscaling import ScaleGradient
from .generative import NormalSample, no_other_fields

CAPSULES = "mrkulk/Unsupervised-Capsule-Network"
SAME = Traits(reuses="nothing", safe_on_own_output=True, output="pass", keeps_size=True, keeps_numbers=True)


@converts("nn.LinearFT", "nn.LinearFixedBias", "nn.LinearDead", "nn.LinearCR", "nn.LinearO", traits=LINEAR)
def other_linear(layer: Layer) -> nn.Linear:
    """nn.LinearFT(inputSize, outputSize, [bias]), of davidstutz/torch-examples

    nn.Linear, and so are its nn.LinearFixedBias and nn.LinearDead (in Torch7 some of them leave out gradients),
    nn.LinearCR of willwhitney/dc-ign and nn.LinearO of iassael/learning-to-communicate.
    """
    return linear(layer)


class PrincipalComponents(nn.Module):
    """Subtracts a mean from samples (N, D) and multiplies by a matrix (D, K) of directions; neither is trained."""

    directions: torch.Tensor
    mean: torch.Tensor

    def __init__(self, size: int, components: int) -> None:
        super().__init__()
        self.size = size
        self.components = components
        self.register_buffer("directions", torch.empty(size, components))
        self.register_buffer("mean", torch.empty(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) @ self.directions

    def extra_repr(self) -> str:
        return f"{self.size}, {self.components}"


@converts("nn.PCA", traits=Traits(reads="numbers", picture="weights", reuses="nothing"))
def pca(layer: Layer) -> PrincipalComponents:
    """nn.PCA(W, b), of davidstutz/torch-examples"""
    if layer.tensor("bias").numel() != layer.tensor("weight").shape[0]:
        layer.refuse("its bias is no mean of samples: it has another size than the columns of its weight")
    module = layer.make(PrincipalComponents, *layer.tensor("weight").shape)
    layer.put(module, "directions", layer.tensor("weight").detach(), field="weight")
    return layer.put(module, "mean", layer.tensor("bias").detach().reshape(-1), field="bias")


class DivergencePenalty(nn.Module):
    """Returns its input, [mean, log of the variance]; the gradient gets that of the divergence from a normal one.

    Args:
        weight: the factor of the divergence.
        average: divide it by the number of elements of the mean.
    """

    def __init__(self, weight: float = 1.0, average: bool = False) -> None:
        super().__init__()
        self.weight = weight
        self.average = average

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        if torch.compiler.is_exporting():
            return x
        mean, log_var = x
        loss = 0.5 * self.weight * (mean.square() + log_var.exp() - 1 - log_var).sum()
        share = loss / 2 / (mean.numel() if self.average else 1)  # each entry brings the half of it back
        return [AddLoss.apply(mean, share), AddLoss.apply(log_var, share)]  # type: ignore[no-untyped-call]

    def extra_repr(self) -> str:
        return f"weight={self.weight}, average={self.average}"


@converts("nn.KullbackLeiblerDivergence", traits=Traits(output="pass", reuses="nothing", flow="same"))
def divergence_penalty(layer: Layer) -> DivergencePenalty:
    """nn.KullbackLeiblerDivergence([lambda = 1], [sizeAverage = false]), of davidstutz/torch-examples

    Returns its input, {mean, log of the variance}; only the gradient changes.
    """
    layer.ignore("loss")
    return DivergencePenalty(layer.number("lambda"), layer.flag("sizeAverage", default=False))


class GumbelSample(nn.Module):
    """The logarithm of its input less that of a random number's negative logarithm, divided by a temperature."""

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        noise = -(torch.rand_like(x) + 1e-20).log() + 1e-20
        return ((x + 1e-20).log() - noise.log()) / self.temperature

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


@converts("nn.ReparameterizationSampler", "nn.Reparametrize", traits=Traits(random=True))
def reparameterization_sampler(layer: Layer) -> nn.Module:
    """nn.ReparameterizationSampler(), of davidstutz/torch-examples; nn.Reparametrize(dimension), of willwhitney/dc-ign

    A sample of the normal distribution with {mean, log of the variance}. With a field `temperature` it is another class
    of torch-examples, which draws Gumbel noise.
    """
    layer.ignore("eps", "size", "dimension")
    module = GumbelSample(layer.number("temperature")) if layer.has("temperature") else NormalSample()
    no_other_fields(layer)
    return module


class FlipNoise(nn.Module):
    """In training puts 1 - x in the place of each number x with probability p."""

    def __init__(self, p: float = 0.05) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p <= 0:
            return x
        return torch.where(torch.rand_like(x) < self.p, 1 - x, x)

    def extra_repr(self) -> str:
        return f"p={self.p}"


@converts("nn.BernoulliNoise", traits=replace(SAME, picture="dropout", label=("p",)))
def bernoulli_noise(layer: Layer) -> FlipNoise:
    """nn.BernoulliNoise([p = 0.05]), of davidstutz/torch-examples

    In evaluation it returns its input.
    """
    layer.trains()
    return FlipNoise(layer.number("p"))


class InputNoise(nn.Module):
    """In training adds normal noise of a deviation; with `inplace` to its input itself."""

    def __init__(self, std: float, inplace: bool = False) -> None:
        super().__init__()
        self.std = std
        self.inplace = inplace

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.std <= 0:
            return x if self.inplace else x.clone()
        noise = torch.empty_like(x).normal_(0, self.std)
        return x.add_(noise) if self.inplace else x + noise

    def extra_repr(self) -> str:
        return f"std={self.std}, inplace={self.inplace}"


@converts("nn.GaussianNoise", traits=Traits(keeps_size=True, safe_on_own_output=True, picture="dropout"))
def gaussian_noise(layer: Layer) -> InputNoise:
    """nn.GaussianNoise(std, [inplace = false]), of iassael/learning-to-communicate

    In evaluation it returns its input, or a copy of it.
    """
    layer.ignore("noise")
    inplace = layer.flag("inplace", default=False)
    if inplace:
        layer.traits(output="pass")
    module = InputNoise(layer.number("std"), inplace)
    no_other_fields(layer)
    return module


@converts("nn.PrintDimensions", "nn.CheckNaN", traits=SAME)
def print_dimensions(layer: Layer) -> nn.Identity:
    """nn.PrintDimensions(), of davidstutz/torch-examples

    It becomes nn.Identity; nothing is printed. nn.CheckNaN, which ends the program where it meets NaN, likewise.
    """
    return nn.Identity()


class ColumnGradient(torch.autograd.Function):
    """The input (N, D); its gradient is 0 but for some columns."""

    @staticmethod
    def forward(x: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, int, int], output: torch.Tensor) -> None:
        _, ctx.start, ctx.stop = inputs

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        passed = torch.zeros_like(grad)
        passed[:, ctx.start : ctx.stop] = grad[:, ctx.start : ctx.stop]
        return passed, None, None


class KeepGradient(nn.Module):
    """Returns its input (N, D); the gradient passes for some columns only.

    Args:
        start: the first of them.
        stop: the first behind them.
    """

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start = start
        self.stop = stop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = ColumnGradient.apply(x, self.start, self.stop)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"{self.start}, {self.stop}"


def columns(layer: Layer) -> tuple[int, int] | None:
    """The columns of `passthrough`, a number or a pair, as start and stop; None: there are none."""
    if not layer.has("passthrough"):
        return None
    value = layer.value("passthrough")
    first, *last = layer.integers("passthrough") if isinstance(value, LuaTable) else (layer.integer("passthrough"),)
    if first < 1 or len(last) > 1 or (last and last[0] < first):
        layer.refuse(f"its field 'passthrough' should be a column or a range of columns and is {value!r}")
    return first - 1, last[0] if last else first


@converts("nn.SelectiveGradientFilter", traits=SAME)
def selective_gradient_filter(layer: Layer) -> nn.Module:
    """nn.SelectiveGradientFilter(), of willwhitney/dc-ign

    Returns its input. While it is active only the columns `passthrough` get a gradient.
    """
    layer.ignore("invariance_strength")
    kept = columns(layer)
    if not layer.flag("active", default=False):
        layer.ignore("force_invariance")
        return nn.Identity()
    if layer.flag("force_invariance", default=False):
        layer.note("in Torch7 its gradient draws the samples together (force_invariance); here it does not")
        return nn.Identity()
    return KeepGradient(*kept or (0, 0))


class FirstForAll(nn.Module):
    """The first sample of (N, D) in the place of all; some columns keep their numbers. The gradient passes unchanged.

    Args:
        start: the first column that keeps its numbers.
        stop: the first behind them.
    """

    def __init__(self, start: int = 0, stop: int = 0) -> None:
        super().__init__()
        self.start = start
        self.stop = stop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = x[:1].expand_as(x)
        y = torch.cat([first[:, : self.start], x[:, self.start : self.stop], first[:, self.stop :]], 1)
        if torch.compiler.is_exporting():
            return y
        passed: torch.Tensor = StraightThrough.apply(x, y)  # type: ignore[no-untyped-call]
        return passed

    def extra_repr(self) -> str:
        return f"{self.start}, {self.stop}"


@converts("nn.SelectiveOutputClamp", traits=Traits(keeps_size=True))
def selective_output_clamp(layer: Layer) -> nn.Module:
    """nn.SelectiveOutputClamp(), of willwhitney/dc-ign

    While it is active the first sample takes the place of all, but for the columns `passthrough`.
    """
    kept = columns(layer)
    if not layer.flag("active", default=False):
        layer.traits(output="copy", keeps_numbers=True)
        return nn.Identity()
    return FirstForAll(*kept) if kept else FirstForAll()


class SpreadPixels(nn.Module):
    """Puts each pixel of (N, C, H, H) at the upper left of a block of `factor` x `factor` zeros."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = x.shape[-2:]
        block = nn.functional.pad(x[..., None, :, None], (0, self.factor - 1, 0, 0, 0, self.factor - 1))
        return block.reshape(*x.shape[:2], rows * self.factor, columns * self.factor)

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


@converts("nn.UnPooling", traits=Traits(reads="images", enlarges=True, reuses="nothing"))
def un_pooling(layer: Layer) -> SpreadPixels:
    """nn.UnPooling(s), of willwhitney/dc-ign

    Each pixel becomes the upper left one of a block of zeros. Images must be square.
    """
    layer.ignore("indices", "mapping")
    return SpreadPixels(layer.integer("scale"))


@converts("nn.GradScale", traits=Traits(output="copy", keeps_size=True, keeps_numbers=True))
def grad_scale(layer: Layer) -> ScaleGradient:
    """nn.GradScale(scale), of mrkulk/Unsupervised-Capsule-Network

    Returns a copy of its input; the gradient is multiplied by the scale.
    """
    return ScaleGradient(layer.number("scale"))


class ScaleSamples(nn.Module):
    """Multiplies each sample of the second entry of a list by the first number of its row of the first (N, D)."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[1] * x[0][:, 0].reshape(-1, *[1] * (x[1].dim() - 1))


converts_to(ScaleSamples, "nn.IntensityMod", project=CAPSULES, traits=Traits(reuses="nothing"))
converts_to(MultiplyEntries, "nn.componentMul", project=CAPSULES, traits=replace(OPERANDS, reuses="nothing"))


class Bootstrap(nn.Module):
    """The mean of a random number of randomly chosen heads, in evaluation too.

    Args:
        heads: modules of one input each.
    """

    def __init__(self, heads: list[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Any) -> torch.Tensor:
        count = len(self.heads)
        chosen = torch.randint(count, (int(torch.randint(1, count + 1, ())),)).tolist()
        drawn: list[torch.Tensor] = [self.heads[i](x) for i in chosen]
        return torch.stack(drawn).mean(0)


@converts("nn.Bootstrap", traits=Traits(random=True, children=("mods_container",)))
def bootstrap(layer: Layer) -> Bootstrap:
    """nn.Bootstrap(mod, k, [param_init]), of iassael/torch-bootstrapped-dqn

    The mean of randomly chosen heads, in evaluation too.
    """
    layer.ignore("active", "mod", "mods_container", "param_init", "k")
    return Bootstrap(layer.modules("mods"))
