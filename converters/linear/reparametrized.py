"""Layers that compute the weight of another layer, change its layout, or learn without a gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from ..tables.containers import only_child
from ..tables.decorators import cast_to, dtype_in


@converts("nn.WeightNorm", traits=Traits(parameters=("v", "g", "bias")))
def weight_norm(layer: Layer) -> nn.Module:
    """nn.WeightNorm(module, [outputDim = 1])

    It becomes the module that it holds, with the weight g v / sqrt(|v|² + 1e-4) worked out; training it on trains that
    weight, no longer g and v.
    """
    layer.ignore("bias", "_norm", "_scale", "gradG", "gradV", "viewIn", "viewOut", "otherDims")
    children = layer.value("modules")
    layer.ignore("v", "g", "outputDim", "weightSize")
    if layer.has("weight") and layer.object.get("train") is False:
        return only_child(layer)  # in evaluation Torch7 uses the weight as it is in the file
    axis = layer.integer("outputDim", 1) - 1
    size = layer.integers("weightSize") if layer.has("weightSize") else tuple(layer.tensor("weight").shape)
    v, g = layer.tensor("v"), layer.tensor("g").reshape(-1, 1)
    weight = v * (g / torch.sqrt((v * v).sum(1, keepdim=True) + 1e-4))
    rest = [extent for i, extent in enumerate(size) if i != axis]
    weight = weight.reshape(size[axis], *rest).movedim(0, axis)
    layer.note("the weight of the weight normalisation was worked out; g and v are no longer parameters")
    return layer.convert_with(children[1], "1", "weight", weight)


class Convert(nn.Module):
    """Brings a tensor from one layout to another, such as `bchw` to `bf`, and to the type of its empty buffer `like`.

    An input of fewer dimensions has no batch, and neither has its output. `b*` is any layout.
    """

    like: torch.Tensor

    def __init__(self, input_shape: str, output_shape: str) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.output_shape = output_shape
        self.register_buffer("like", torch.empty(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to(self.like.dtype)
        if self.input_shape == "b*" or x.dim() >= len(self.input_shape):
            return self.rearrange(x)
        batch = self.rearrange(x.unsqueeze(self.input_shape.index("b")))
        return batch.squeeze(self.output_shape.index("b"))

    def rearrange(self, x: torch.Tensor) -> torch.Tensor:
        old, new = self.input_shape, self.output_shape
        if old == new:
            return x
        if sorted(old) == sorted(new):
            return x.permute([old.index(axis) for axis in new]).contiguous()
        if new == "b":
            return x.select(1 - old.index("b"), 0)
        x = x.transpose(0, old.index("b"))
        return x.unsqueeze(1) if old == "b" else x.flatten(1)

    def extra_repr(self) -> str:
        return f"{self.input_shape!r}, {self.output_shape!r}"


@converts("nn.Convert", traits=Traits(safe_on_own_output=True))
def convert(layer: Layer) -> Convert:
    """nn.Convert([inputShape = 'b*'], [outputShape = inputShape])"""
    layer.ignore("nInputDim", "nOutputDim", "inputBatchDim", "outputBatchDim", "transposition", "batchMode")
    layer.ignore("converter", "modules", "__input", "__output", "__gradInput", "__gradOutput")
    old, new = layer.text("inputShape"), layer.text("outputShape")
    transposed = sorted(old) == sorted(new)
    known = {"bf": old != "bt", "bt": old == "b", "b": sorted(old) in (["b", "t"], ["b", "f"])}
    if not transposed and not known.get(new, False):
        layer.refuse(f"Torch7 has no conversion of {old} to {new}")
    if old == new or (new == "bf" and len(old) == 2 and old[0] == "b"):  # the input itself, if the types are the same
        layer.traits(output="pass", reuses="nothing")
    elif not transposed:  # one tensor that shows the input
        layer.traits(output="pass")
    module = Convert(old, new)
    module.like = cast_to(dtype_in(layer, "output") or torch.get_default_dtype()).like
    return module


class NearestCenter(torch.autograd.Function):
    """The 1-based index of the nearest center; the centers' gradient moves each to the mean of its samples."""

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor, scale: float) -> torch.Tensor:
        distances = (x.unsqueeze(0) - weight.unsqueeze(1)).square().sum(2)
        return distances.argmin(0).to(x.dtype) + 1

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, float], output: torch.Tensor) -> None:
        x, weight, ctx.scale = inputs
        ctx.save_for_backward(x, weight, output)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        x, weight, nearest = ctx.saved_tensors
        nearest = nearest.long() - 1
        moves = torch.zeros_like(weight).index_add(0, nearest, ctx.scale * (weight[nearest] - x))
        counts = torch.zeros_like(weight[:, 0]).index_add(0, nearest, torch.ones_like(x[:, 0]))
        return torch.zeros_like(x), moves / (counts + 1e-7).unsqueeze(1), None


class Kmeans(nn.Module):
    """Returns the 1-based index of the nearest of `k` centers for each row."""

    def __init__(self, k: int, dim: int, scale: float = 1.0) -> None:
        super().__init__()
        self.k = k
        self.dim = dim
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(k, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        nearest: torch.Tensor = NearestCenter.apply(x, self.weight, self.scale)  # type: ignore[no-untyped-call]
        return nearest

    def extra_repr(self) -> str:
        return f"{self.k}, {self.dim}, scale={self.scale}"


@converts("nn.Kmeans", traits=Traits(reads="numbers", picture="weights"))
def kmeans(layer: Layer) -> Kmeans:
    """nn.Kmeans(k, dim, [scale])

    As in Torch7 the gradient of the centers does not depend on what comes from behind.
    """
    layer.ignore("clusterSampleCount", "loss", "p", "_expandedSamples", "_clusterDistances", "_temp", "_tempExpanded")
    layer.ignore("_tempWeight", "_tempWeightExp", "_expandedWeight", "_minScore", "_minIndx", "_cscAdder", "_ccounts")
    layer.ignore("_gradWeight2")
    return layer.put(layer.make(Kmeans, layer.integer("k"), layer.integer("dim"), layer.number("scale", 1.0)), "weight")
