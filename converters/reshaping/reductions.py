"""Layers that reduce one dimension to a single entry."""

from __future__ import annotations

import ast

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...source.expressions import Variable, python
from ...source.forms import Structure
from .shapes import dim_within_batch, optional_integer
from .slices import dim_within, zero_based


class Sum(nn.Module):
    """Adds up, or averages, one dimension.

    Args:
        dim: the dimension (0-based; negative: from the end).
        num_input_dims: an input of exactly one dimension more is a batch, and `dim` counts within its samples.
        average: divide by the number of entries.
        squeeze: leave the dimension out of the result, unless it is the only one.
    """

    def __init__(
        self, dim: int, num_input_dims: int | None = None, average: bool = False, squeeze: bool = True
    ) -> None:
        super().__init__()
        self.dim = dim
        self.num_input_dims = num_input_dims
        self.average = average
        self.squeeze = squeeze

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dim = dim_within_batch(x, self.dim, self.num_input_dims)
        keep = not self.squeeze or x.dim() == 1
        return torch.mean(x, dim, keepdim=keep) if self.average else torch.sum(x, dim, keepdim=keep)

    def extra_repr(self) -> str:
        names = ("dim", "num_input_dims", "average", "squeeze")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


@converts("nn.Sum")
def sum_(layer: Layer) -> Sum:
    """nn.Sum([dimension = 1], [nInputDims], [sizeAverage = false], [squeeze = true])"""
    return _sum(layer, layer.flag("sizeAverage", default=False))


@converts("nn.Mean")
def mean(layer: Layer) -> Sum:
    """nn.Mean([dimension = 1], [nInputDims])"""
    return _sum(layer, layer.flag("sizeAverage", default=True))  # absent from before it was a kind of nn.Sum


def _sum(layer: Layer, average: bool) -> Sum:
    dim = zero_based(layer, "dimension")
    return Sum(dim, optional_integer(layer, "nInputDims"), average, layer.flag("squeeze", default=True))


class Max(nn.Module):
    """The largest entry of one dimension, which is left out of the result unless it is the only one.

    Args:
        dim: the dimension (0-based; negative: from the end).
        num_input_dims: an input of exactly one dimension more is a batch, and `dim` counts within its samples.
    """

    def __init__(self, dim: int, num_input_dims: int | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.num_input_dims = num_input_dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dim = dim_within_batch(x, self.dim, self.num_input_dims)
        return x.max(dim, keepdim=x.dim() == 1).values

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_input_dims={self.num_input_dims}"


@converts("nn.Max")
def max_(layer: Layer) -> Max:
    """nn.Max([dimension = 1], [nInputDims])"""
    layer.ignore("_indices")
    return Max(zero_based(layer, "dimension"), optional_integer(layer, "nInputDims"))


class Min(nn.Module):
    """The smallest entry of one dimension, which is left out of the result unless it is the only one.

    Args:
        dim: the dimension (0-based; negative: from the end).
        num_input_dims: an input of exactly one dimension more is a batch, and `dim` counts within its samples.
    """

    def __init__(self, dim: int, num_input_dims: int | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.num_input_dims = num_input_dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dim = dim_within_batch(x, self.dim, self.num_input_dims)
        return x.min(dim, keepdim=x.dim() == 1).values

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_input_dims={self.num_input_dims}"


@converts("nn.Min")
def min_(layer: Layer) -> Min:
    """nn.Min([dimension = 1], [nInputDims])"""
    layer.ignore("_indices")
    return Min(zero_based(layer, "dimension"), optional_integer(layer, "nInputDims"))


module_form("structure", Sum, Max, Min)(Structure(operator=True))


@module_form("python", Sum, Max, Min)
def _reduction(module: Sum | Max | Min, x: Variable) -> ast.expr:
    arguments = "dim, keepdim=True" if x.dims == 1 or not getattr(module, "squeeze", True) else "dim"
    if isinstance(module, Sum):
        text = f"x.{'mean' if module.average else 'sum'}({arguments})"
    else:
        text = f"x.{'max' if isinstance(module, Max) else 'min'}({arguments}).values"
    return python(text, x=x, dim=dim_within(module, x.dims))
