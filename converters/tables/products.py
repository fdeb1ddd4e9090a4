"""Layers of package nn that take a table of two: products, distances, mixtures, selections by index or mask."""

from __future__ import annotations

import ast
from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, converts_to, module_form
from ...model.traits import Traits
from ...source.expressions import Value, Variable, python
from ..reshaping.shapes import optional_integer
from ..reshaping.slices import zero_based


class MatrixProduct(nn.Module):
    """The product of two matrices, or of two batches of matrices; `trans_a`, `trans_b` transpose them first."""

    def __init__(self, trans_a: bool = False, trans_b: bool = False) -> None:
        super().__init__()
        self.trans_a = trans_a
        self.trans_b = trans_b

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        a = x[0].transpose(-2, -1) if self.trans_a else x[0]
        b = x[1].transpose(-2, -1) if self.trans_b else x[1]
        return a @ b

    def extra_repr(self) -> str:
        return f"trans_a={self.trans_a}, trans_b={self.trans_b}"


@converts("nn.MM", traits=Traits(flow="operands", picture="merge"))
def mm(layer: Layer) -> MatrixProduct:
    """nn.MM([transA = false], [transB = false])"""
    return MatrixProduct(layer.flag("transA", default=False), layer.flag("transB", default=False))


class MatrixVectorProduct(nn.Module):
    """The product of a matrix and a vector, or of batches of them; `trans` transposes the matrix first."""

    def __init__(self, trans: bool = False) -> None:
        super().__init__()
        self.trans = trans

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        matrix = x[0].transpose(-2, -1) if self.trans else x[0]
        return (matrix @ x[1].unsqueeze(-1)).squeeze(-1)

    def extra_repr(self) -> str:
        return f"trans={self.trans}"


@converts("nn.MV", traits=Traits(picture="merge"))
def mv(layer: Layer) -> MatrixVectorProduct:
    """nn.MV([trans = false])"""
    return MatrixVectorProduct(layer.flag("trans", default=False))


class DotProduct(nn.Module):
    """The dot products of the rows of two matrices; two vectors are matrices of one row."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return (x[0] * x[1]).sum(-1, keepdim=x[0].dim() == 1)


converts_to(DotProduct, "nn.DotProduct", traits=Traits(flow="operands", picture="merge"))


class CosineDistance(nn.Module):
    """The cosines between the rows of two matrices; two vectors are matrices of one row."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        a, b = x
        keep = a.dim() == 1
        squares = (a * a).sum(-1, keepdim=keep) + 1e-12
        other_squares = (b * b).sum(-1, keepdim=keep) + 1e-12
        return (a * b).sum(-1, keepdim=keep) * torch.sqrt((1 / squares) * (1 / other_squares))


converts_to(
    CosineDistance,
    "nn.CosineDistance",
    ignore=("_input1", "_input2", "w1", "w22", "w", "w32"),
    traits=Traits(flow="operands"),
)


class PairwiseDistanceFunction(torch.autograd.Function):
    """The p-norm of a difference over the last dimension, with Torch7's gradient: 1e-6 keeps it finite at zero."""

    @staticmethod
    def forward(a: torch.Tensor, b: torch.Tensor, norm: float) -> torch.Tensor:
        return (a - b).abs().pow(norm).sum(-1, keepdim=True).pow(1 / norm)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, float], output: torch.Tensor) -> None:
        a, b, ctx.norm = inputs
        ctx.save_for_backward(a - b, output)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        difference, distance = ctx.saved_tensors
        scaled = difference.sign() * difference.abs().pow(ctx.norm - 1) * (distance + 1e-6).pow(1 - ctx.norm)
        return scaled * grad, -scaled * grad, None


class PairwiseDistance(nn.Module):
    """The p-norm distances between the rows of two matrices; two vectors are matrices of one row."""

    def __init__(self, norm: float = 2.0) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        a, b = x
        distance: torch.Tensor = PairwiseDistanceFunction.apply(a, b, self.norm)  # type: ignore[no-untyped-call]
        return distance if a.dim() == 1 else distance.squeeze(-1)

    def extra_repr(self) -> str:
        return f"norm={self.norm}"


@converts("nn.PairwiseDistance", traits=Traits(flow="operands"))
def pairwise_distance(layer: Layer) -> PairwiseDistance:
    """nn.PairwiseDistance([p = 2])

    Where two entries are equal, Torch7's gradient of the 1-norm is -1 or 1 at random, here 0. Torch7's gradient of
    a p-norm with 1 < p < 2 is wrong, here it is the derivative.
    """
    layer.ignore("diff", "outExpand", "grad")
    return PairwiseDistance(layer.number("norm", 2.0))


class MixtureTable(nn.Module):
    """Of [gater, experts]: adds up the experts, each weighted by its entry of the gater.

    The gater is (K) or (N, K); the experts are a list, or one tensor; `dim` is where that holds them.

    Args:
        dim: dimension of the experts (0-based); None: 0 for a gater of one dimension, else 1.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: list[Any]) -> torch.Tensor:
        gater, experts = x
        batched = gater.dim() > 1
        dim = int(batched) if self.dim is None else self.dim
        if isinstance(experts, (list, tuple)):
            experts = torch.stack(list(experts), dim)
        size = [1] * experts.dim()
        if batched:
            size[0] = gater.shape[0]
        size[dim] = gater.shape[-1]
        mixed: torch.Tensor = (gater.reshape(size) * experts).sum(dim)
        return mixed

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


@module_form("python of a list", MixtureTable)
def _mixture(module: MixtureTable, value: Value) -> ast.expr | None:
    gater, experts = value if isinstance(value, list) and len(value) == 2 else (None, None)
    if not isinstance(gater, Variable) or gater.dims not in (1, 2):
        return None
    dim = gater.dims - 1
    if isinstance(experts, list) and all(isinstance(expert, Variable) and expert.dims for expert in experts):
        dims, stacked = experts[0].dims + 1, python("torch.stack(x, dim)", x=experts, dim=dim)
    elif isinstance(experts, Variable) and experts.dims is not None:
        dims, stacked = experts.dims, experts
    else:
        return None
    if module.dim not in (None, dim):
        return None
    weights: ast.expr = gater
    for _ in range(dims - dim - 1):
        weights = python("x.unsqueeze(-1)", x=weights)
    return python("(w * x).sum(dim)", w=weights, x=stacked, dim=dim)


@converts("nn.MixtureTable")
def mixture_table(layer: Layer) -> MixtureTable:
    """nn.MixtureTable([dim])

    Without `dim`, a module that has run keeps the dimension of its first input.
    """
    layer.ignore("size", "size2", "batchSize", "backwardSetup", "dimG", "table")
    layer.ignore("_gaterView", "_expert", "_expertView", "_sum", "_expert2", "_expertView2")
    dim = optional_integer(layer, "dim")
    return MixtureTable(None if dim is None else dim - 1)


class Index(nn.Module):
    """Of [tensor, indices]: picks entries of dimension `dim` (0-based) by their 1-based indices."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0].index_select(self.dim, x[1].long() - 1)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


@converts("nn.Index", traits=Traits(flow="picks"))
def index(layer: Layer) -> Index:
    """nn.Index(dimension)"""
    return Index(zero_based(layer, "dimension"))


class MaskedSelect(nn.Module):
    """Of [tensor, mask]: the vector of the elements where the mask is not zero."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return torch.masked_select(x[0], x[1].reshape(x[0].shape) != 0)


converts_to(
    MaskedSelect,
    "nn.MaskedSelect",
    ignore=("_maskIndices", "_maskIndexBuffer", "_maskIndexBufferCPU", "_gradBuffer", "_gradMask"),
)
