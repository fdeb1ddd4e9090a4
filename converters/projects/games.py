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
from .generation.generative import no_other_fields
from .vision.upscaling import ScaleGradient


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
    layer.note("the gradient of its Lua has the other sign and is not averaged; here it is the derivative")
    return HuberCriterion(layer.number("delta", 1.0))


def shares(length: int, wanted: int) -> list[list[float]]:
    """The weights (wanted x length) with which package image scales a line: means if it shrinks, else interpolation."""
    rows = [[0.0] * length for _ in range(wanted)]
    if wanted > length:
        step = single((length - 1) / (wanted - 1))
        for i, row in enumerate(rows[:-1]):
            place = single(i * step)
            row[int(place)] += 1 - single(place - int(place))
            row[min(int(place) + 1, length - 1)] += single(place - int(place))
        rows[-1][-1] = 1.0
    elif wanted < length:
        step = single(length / wanted)
        start, skipped = 0, 0.0
        for i, row in enumerate(rows):
            place = single((i + 1) * step)
            stop, last = int(place), single(place - int(place))
            row[start] = 1 - skipped
            row[start + 1 : stop] = [1.0] * max(stop - start - 1, 0)
            if stop < length:
                row[stop] += last
            start, skipped = stop, last
            row[:] = [weight / sum(row) for weight in row]
    else:
        for i, row in enumerate(rows):
            row[i] = 1.0
    return rows


def single(x: float) -> float:
    """The number in single precision, in which package image computes."""
    return float(torch.tensor(x, dtype=torch.float32))


class GrayScreen(nn.Module):
    """The brightness of an RGB image (3, H, W), or of the first of a batch, scaled to (1, height, width)."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height = height
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = x[0] if x.dim() > 3 else x
        gray = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
        down, across = ((gray.shape[0], self.height), (gray.shape[1], self.width))
        rows = torch.tensor(shares(*down), dtype=torch.float64).to(x)
        columns = torch.tensor(shares(*across), dtype=torch.float64).to(x)
        return (rows @ gray @ columns.t()).unsqueeze(0)

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}"


@converts("nn.Scale", traits=Traits(reads="images", reuses="nothing"))
def scale(layer: Layer) -> GrayScreen:
    """nn.Scale(height, width), of kuz/DeepMind-Atari-Deep-Q-Learner and its many copies

    The brightness of a screen, scaled as package image does it: averaged where it shrinks. Of a batch only the first.
    """
    module = GrayScreen(layer.integer("height"), layer.integer("width"))
    if layer.object.get("output") is not None:
        layer.refuse(
            "it keeps its output, as willwhitney/understanding-visual-concepts' class of that name, which "
            "scales all of a batch"
        )
    no_other_fields(layer)
    return module
