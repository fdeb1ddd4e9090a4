"""Layers with weights of their own kind: sums and products by element, distances, products of two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits

WEIGHTS = Traits(reads="numbers", picture="weights")


class Add(nn.Module):
    """Adds a bias: to each sample of a batch, or to an input of the bias' own size."""

    def __init__(self, size: Sequence[int], scalar: bool = False) -> None:
        super().__init__()
        self.size = list(size)
        self.scalar = scalar
        self.bias = nn.Parameter(torch.empty(self.size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.scalar:
            return x + self.bias.reshape(-1)[0]
        if list(x.shape) == self.size:
            return x + self.bias
        return (x.reshape(x.shape[0], -1) + self.bias.reshape(1, -1)).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"{self.size}, scalar={self.scalar}"


@converts("nn.Add", traits=Traits(keeps_size=True))
def add(layer: Layer) -> Add:
    """nn.Add(inputSize, [scalar = false])"""
    layer.ignore("_ones")
    return layer.put_all(layer.make(Add, list(layer.tensor("bias").shape), layer.flag("scalar", False)), "bias")


class CAdd(nn.Module):
    """Adds a bias by element; axes of size 1 are repeated."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = list(size)
        self.bias = nn.Parameter(torch.empty(self.size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.bias.numel() == x.numel():
            return x + self.bias.reshape(x.shape)
        if self.bias.dim() == x.dim():
            return x + self.bias.expand_as(x)
        return (x.reshape(x.shape[0], -1) + self.bias.reshape(1, -1)).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"{self.size}"


class CMul(nn.Module):
    """Multiplies by a weight by element; axes of size 1 are repeated."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = list(size)
        self.weight = nn.Parameter(torch.empty(self.size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.weight.numel() == x.numel():
            return x * self.weight.reshape(x.shape)
        if self.weight.dim() == x.dim():
            return x * self.weight.expand_as(x)
        return (x.reshape(x.shape[0], -1) * self.weight.reshape(1, -1)).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"{self.size}"


module_form("cell part", CMul)("peephole")


@converts("nn.CAdd", traits=Traits(keeps_size=True))
def cadd(layer: Layer) -> CAdd:
    """nn.CAdd(size)"""
    layer.ignore("size", "_bias", "_expand", "_repeat", "_gradBias")
    return layer.put_all(layer.make(CAdd, list(layer.tensor("bias").shape)), "bias")


@converts("nn.CMul", traits=Traits(keeps_size=True, picture="weights"))
def cmul(layer: Layer) -> CMul:
    """nn.CMul(size)"""
    layer.ignore("size", "_expand", "_repeat", "_sum")
    return layer.put_all(layer.make(CMul, list(layer.tensor("weight").shape)), "weight")


class Mul(nn.Module):
    """Multiplies by one learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


@converts("nn.Mul", traits=Traits(keeps_size=True, picture="weights"))
def mul(layer: Layer) -> Mul:
    """nn.Mul()"""
    return layer.put_all(layer.make(Mul), "weight")


class Constant(nn.Module):
    """Returns a value whatever it is given; repeated for a batch where the input has more than `dims` dimensions."""

    def __init__(self, size: Sequence[int], dims: int | None = None) -> None:
        super().__init__()
        self.size = list(size)
        self.dims = dims
        self.register_buffer("value", torch.empty(self.size))
        self.value: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.dims is not None and x.dim() > self.dims:
            return self.value.expand(x.shape[0], *self.size)
        return self.value

    def extra_repr(self) -> str:
        return f"{self.size}, dims={self.dims}"


@converts("nn.Constant")
def constant(layer: Layer) -> Constant:
    """nn.Constant(value, [nInputDim])

    The input gets no gradient.
    """
    dims = layer.integer("nInputDim") if layer.has("nInputDim") else None
    module = layer.make(Constant, list(layer.tensor("value").shape), dims)
    return layer.put(module, "value", layer.tensor("value").detach())


class Bilinear(nn.Bilinear):
    """x W_k y + b_k for each output k, of a list [x, y]."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x[0], x[1])


@converts("nn.Bilinear", traits=replace(WEIGHTS, flow="operands"))
def bilinear(layer: Layer) -> Bilinear:
    """nn.Bilinear(inputSize1, inputSize2, outputSize, [bias = true])"""
    layer.ignore("buff1", "buff2")
    outputs, first, second = layer.tensor("weight").shape
    return layer.put_all(layer.make(Bilinear, first, second, outputs, bias=layer.has("bias")), "weight", "bias")


class Cosine(nn.Module):
    """Cosines of the angles between the input and each row of the weight."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.weight.norm(2, 1) + 1e-12
        length: torch.Tensor = x.norm(2, -1, keepdim=True) + 1e-12
        return F.linear(x, self.weight) / rows / length

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"


@converts("nn.Cosine", traits=WEIGHTS)
def cosine(layer: Layer) -> Cosine:
    """nn.Cosine(inputSize, outputSize)"""
    layer.ignore("_weightNorm", "_inputNorm", "__norm", "_sum", "_weight")
    outputs, inputs = layer.tensor("weight").shape
    return layer.put_all(layer.make(Cosine, inputs, outputs), "weight")


class Euclidean(nn.Module):
    """Distances between the input and each column of the weight; optionally with a scale of each element.

    Args:
        in_features, out_features: sizes of the input and of the output.
        weighted: is there a scale `diag_cov`?
    """

    def __init__(self, in_features: int, out_features: int, weighted: bool = False) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weighted = weighted
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.diag_cov = nn.Parameter(torch.empty(in_features, out_features)) if weighted else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        difference = x.unsqueeze(-1) - self.weight
        if self.diag_cov is not None:
            difference = difference * self.diag_cov
        squares = difference.square().sum(-2)
        distance = squares.detach().sqrt()
        # the distance; its gradient is divided by a little more than it, as in Torch7
        return distance + (squares - squares.detach()) / (2 * (distance + 1e-7))

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, weighted={self.weighted}"


_BUFFERS = tuple(
    f"_{name}{i}" for name in ("expand", "repeat", "weight", "input", "div", "diagCov", "sum") for i in ("", 2, 3, 4)
)


@converts("nn.Euclidean", traits=replace(WEIGHTS, weight_axis=0))
def euclidean(layer: Layer) -> Euclidean:
    """nn.Euclidean(inputSize, outputSize)"""
    layer.ignore("fastBackward", *_BUFFERS)
    inputs, outputs = layer.tensor("weight").shape
    return layer.put_all(layer.make(Euclidean, inputs, outputs), "weight")


@converts("nn.WeightedEuclidean", traits=replace(WEIGHTS, parameters=("weight", "diagCov"), weight_axis=0))
def weighted_euclidean(layer: Layer) -> Euclidean:
    """nn.WeightedEuclidean(inputSize, outputSize)"""
    layer.ignore("fastBackward", "gradDiagCov", *_BUFFERS)
    inputs, outputs = layer.tensor("weight").shape
    module = layer.make(Euclidean, inputs, outputs, weighted=True)
    layer.put_all(module, "weight")
    return layer.put(module, "diag_cov", field="diagCov")


class PartialLinear(nn.Module):
    """A linear layer of which only some outputs are computed.

    Args:
        network: gives the products of [x, 1-based outputs].
        in_features, out_features: sizes of the whole layer.
        outputs: how many outputs are computed.
        bias: is there a bias?
    """

    def __init__(
        self, network: nn.Module, in_features: int, out_features: int, outputs: int, bias: bool = True
    ) -> None:
        super().__init__()
        self.network = network
        self.in_features = in_features
        self.out_features = out_features
        self.outputs = outputs
        self.bias = nn.Parameter(torch.empty(1, out_features)) if bias else None
        self.register_buffer("partition", torch.empty(outputs, dtype=torch.int64))
        self.partition: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.network([x, self.partition])
        return y if self.bias is None else y + self.bias[:, self.partition - 1]

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, outputs={self.outputs}"


@converts(
    "nn.PartialLinear",
    traits=Traits(parameters=("network.modules.1.modules.2.weight", "bias"), reads="numbers", picture="weights"),
)
def partial_linear(layer: Layer) -> PartialLinear:
    """nn.PartialLinear(inputsize, outputsize, [bias = true])"""
    layer.ignore("allcolumns")
    chosen = layer.tensor("partition").detach().long()
    network = layer.module("network")
    module = PartialLinear(
        network, layer.integer("inputsize"), layer.integer("outputsize"), len(chosen), bias=layer.has("bias")
    )
    layer.put_all(module, "bias")
    return layer.put(module, "partition", chosen)


class LinearWeightNorm(nn.Module):
    """A linear layer with the weight g * v / |v|.

    As in Torch7, evaluation uses the weight that was computed when training ended.

    Args:
        in_features, out_features: sizes.
        bias: is there a bias?
        eps: smallest length of a row of v.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, eps: float = 1e-16) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.eps = eps
        self.v = nn.Parameter(torch.empty(out_features, in_features))
        self.g = nn.Parameter(torch.empty(out_features, 1))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.register_buffer("weight", torch.empty(out_features, in_features))
        self.weight: torch.Tensor

    def train(self, mode: bool = True) -> LinearWeightNorm:
        if self.training and not mode:
            self.weight = self.product().detach()
        return super().train(mode)

    def product(self) -> torch.Tensor:
        """The weight g * v / |v|."""
        length: torch.Tensor = self.v.norm(2, 1, keepdim=True)
        return self.v * (self.g / length.clamp(min=self.eps))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.product()
        if not self.training:
            weight = weight + (self.weight - weight).detach()  # the gradient still goes to v and g
        return F.linear(x, weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, eps={self.eps}"


@converts("nn.LinearWeightNorm", traits=Traits(parameters=("v", "g", "bias"), reads="numbers", picture="weights"))
def linear_weight_norm(layer: Layer) -> LinearWeightNorm:
    """nn.LinearWeightNorm(inputSize, outputSize, [bias = true], [eps = 1e-16])

    Evaluation uses the weight in the file, which Torch7 computed when training ended.
    """
    layer.ignore("gradV", "gradG", "norm", "scale", "inputSize", "outputSize")
    outputs, inputs = layer.tensor("v").shape
    module = layer.make(LinearWeightNorm, inputs, outputs, bias=layer.has("bias"), eps=layer.number("eps", 1e-16))
    layer.put_all(module, "v", "g", "bias")
    layer.put(module, "weight", layer.tensor("weight").detach())
    module.training = layer.trains()  # what is not training keeps its weight
    return module


class SparseLinear(nn.Module):
    """A linear layer of sparse samples: rows of (1-based index, value).

    One sample, a list of samples of any lengths, or a tensor samples x rows x 2.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, x: Any) -> torch.Tensor:
        if isinstance(x, torch.Tensor) and x.dim() == 2:
            return self.sample(x)
        return torch.stack([self.sample(item) for item in x])

    def sample(self, x: torch.Tensor) -> torch.Tensor:
        """One sample."""
        values = x[:, 1]
        # entries without a value may have any index
        rows = torch.where(values == 0, 0, x[:, 0].long() - 1)
        return self.bias + values @ self.weight.t()[rows]

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"


@converts("nn.SparseLinear", traits=WEIGHTS)
def sparse_linear(layer: Layer) -> SparseLinear:
    """nn.SparseLinear(inputSize, outputSize, [doGradInput = false])"""
    layer.ignore("doGradInput", "weightDecay", "sparseUpdate", "formatted_input", "legacyMode", "lastInput", "ones")
    outputs, inputs = layer.tensor("weight").shape
    return layer.put_all(layer.make(SparseLinear, inputs, outputs), "weight", "bias")
