"""Layers that pick, move or add parts of a tensor.

Like those of Torch7 they return copies: a layer behind them may then work in place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...source.expressions import Variable, python
from ...source.forms import Structure
from ...t7 import LuaObject, LuaTable
from .shapes import optional_integer


class Transpose(nn.Module):
    """Swaps pairs of dimensions (0-based), one pair after the other.

    With `num_input_dims`, dimensions are counted within a sample, the last dimensions of the input.
    """

    def __init__(self, swaps: list[list[int]], num_input_dims: int | None = None) -> None:
        super().__init__()
        self.swaps = swaps
        self.num_input_dims = num_input_dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = 0 if self.num_input_dims is None else x.dim() - self.num_input_dims
        for a, b in self.swaps:
            x = x.transpose(a + batch, b + batch)
        return x.clone(memory_format=torch.contiguous_format)

    def extra_repr(self) -> str:
        return f"swaps={self.swaps}, num_input_dims={self.num_input_dims}"


module_form("structure", Transpose)(Structure(operator=True))


@module_form("python of any size", Transpose)
def _transpose_any(module: Transpose, x: Variable) -> ast.expr | None:
    return _transpose(module, x) if module.num_input_dims is None else None


@module_form("python", Transpose)
def _transpose(module: Transpose, x: Variable) -> ast.expr:
    batch = 0 if module.num_input_dims is None or x.dims is None else x.dims - module.num_input_dims
    swaps = [(first + batch, second + batch) for first, second in module.swaps]
    if len(swaps) > 1 and x.dims is not None:
        order = list(range(x.dims))
        for first, second in swaps:
            order[first], order[second] = order[second], order[first]
        return python("x.permute(*order).contiguous()", x=x, order=order)
    swapped: ast.expr = x
    for first, second in swaps:
        swapped = python("x.transpose(a, b)", x=swapped, a=first, b=second)
    return python("x.contiguous()", x=swapped)


def sizes_before_transpose(obj: LuaObject, output: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The sizes that an nn.Transpose turned into `output`."""
    swaps = obj.get("permutations")
    if not isinstance(swaps, LuaTable) or obj.get("numInputDims") is not None:
        return
    sizes = list(output)
    for swap in reversed(swaps.list()):
        pair = [int(n) - 1 for n in swap.list() if isinstance(n, float)] if isinstance(swap, LuaTable) else []
        if len(pair) != 2 or not all(0 <= place < len(sizes) for place in pair):
            return
        sizes[pair[0]], sizes[pair[1]] = sizes[pair[1]], sizes[pair[0]]
    yield tuple(sizes)


@converts("nn.Transpose", traits=Traits(sizes_before=sizes_before_transpose))
def transpose(layer: Layer) -> Transpose:
    """nn.Transpose({dim1, dim2}, [{dim3, dim4}, …])"""
    table = layer.value("permutations")
    swaps = []
    for pair in table.list() if isinstance(table, LuaTable) else ():
        dims = [d for d in pair.list() if isinstance(d, float)] if isinstance(pair, LuaTable) else []
        if len(dims) < 2:
            layer.refuse("its permutations are not pairs of dimensions")
        swaps.append([int(dims[0]) - 1, int(dims[1]) - 1])
    return Transpose(swaps, optional_integer(layer, "numInputDims"))


class Select(nn.Module):
    """Picks one index of a dimension (both 0-based; negative ones count from the end); of a vector, a vector of one."""

    def __init__(self, dim: int, index: int) -> None:
        super().__init__()
        self.dim = dim
        self.index = index

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.select(self.dim, self.index).clone()
        return y.reshape(1) if x.dim() == 1 else y

    def extra_repr(self) -> str:
        return f"dim={self.dim}, index={self.index}"


@converts("nn.Select")
def select(layer: Layer) -> Select:
    """nn.Select(dim, index)"""
    return Select(zero_based(layer, "dimension"), zero_based(layer, "index"))


def dim_within(module: Any, dims: int | None) -> int:
    """The `dim` of a module for a tensor of `dims` dimensions: one more than `module.num_input_dims` are a batch."""
    dim: int = module.dim + (
        module.dim >= 0 and module.num_input_dims is not None and dims == module.num_input_dims + 1
    )
    return dim


def dim_of_any(module: Any, x: Variable) -> Any:
    """The same for a tensor of which the number of dimensions is not known: it is asked when the model runs."""
    if module.dim < 0 or module.num_input_dims is None:
        return module.dim
    dims, dim = module.num_input_dims + 1, module.dim
    return python("batched if x.dim() == dims else dim", x=x, dims=dims, batched=dim + 1, dim=dim)


def zero_based(layer: Layer, name: str) -> int:
    """A 1-based dimension or index field as PyTorch counts it; negative ones count from the end in both."""
    value = layer.integer(name)
    if value == 0:
        layer.refuse(f"its {name} is 0, but Torch7 counts from 1")
    return value - 1 if value > 0 else value


class Narrow(nn.Module):
    """Picks a range of a dimension (0-based; a negative one counts from the end).

    Args:
        dim: the dimension.
        offset: the first index, counted from 1; negative: the first one, and `length` says how many are left out.
        length: how many; negative: up to the end (-1), the last but one (-2), …
    """

    def __init__(self, dim: int, offset: int, length: int = 1) -> None:
        super().__init__()
        self.dim = dim
        self.offset = offset
        self.length = length

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[self.dim]
        start = self.offset
        length = self.length if self.length >= 0 else size - start + self.length + 2
        if start < 0:
            start, length = 1, size - length
        return x.narrow(self.dim, start - 1, length).clone()

    def extra_repr(self) -> str:
        return f"dim={self.dim}, offset={self.offset}, length={self.length}"


module_form("structure", Narrow)(Structure(operator=True))


@module_form("python of any size", Narrow)
@module_form("python", Narrow)
def _narrow(module: Narrow, x: Variable) -> ast.expr | None:
    if module.offset < 0 and module.length < 0:
        return None
    start = max(module.offset - 1, 0)
    rest = module.length if module.offset < 0 else start - module.length - 1  # what is left out of the dimension
    length = python("x.size(dim) - rest" if rest else "x.size(dim)", x=x, dim=module.dim, rest=rest)
    if module.offset > 0 <= module.length:
        length = python("n", n=module.length)
    return python("x.narrow(dim, start, length).clone()", x=x, dim=module.dim, start=start, length=length)


@converts("nn.Narrow", traits=Traits(safe_on_own_output=True))
def narrow(layer: Layer) -> Narrow:
    """nn.Narrow(dim, offset, [length = 1])"""
    offset = layer.integer("index")
    if offset == 0:
        layer.refuse("its index is 0, but Torch7 counts from 1")
    return Narrow(zero_based(layer, "dimension"), offset, layer.integer("length", 1))


class Padding(nn.Module):
    """Inserts |pad| entries of one value into a dimension (0-based).

    Args:
        dim: the dimension; it moves by one for an input that has not exactly `num_input_dims` dimensions.
        pad: how many; negative before `index`, counted from the start, positive after it, counted from the end.
        num_input_dims: how many dimensions a sample has.
        value: what is inserted.
        index: where, counted from 1, which is one of the ends.
    """

    def __init__(
        self, dim: int, pad: int, num_input_dims: int | None = None, value: float = 0.0, index: int = 1
    ) -> None:
        super().__init__()
        self.dim = dim
        self.pad = pad
        self.num_input_dims = num_input_dims
        self.value = value
        self.index = index

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = self.num_input_dims is not None and x.dim() != self.num_input_dims
        dim = self.dim + batch
        if self.index == 1:
            ends = (0, self.pad) if self.pad > 0 else (-self.pad, 0)
            return functional.pad(x, (0, 0) * (x.dim() - 1 - dim) + ends, value=self.value)
        before = x.shape[dim] - self.index + 1 if self.pad > 0 else self.index - 1
        filler = x.new_full((*x.shape[:dim], abs(self.pad), *x.shape[dim + 1 :]), self.value)
        start, end = torch.split(x, [before, x.shape[dim] - before], dim)
        return torch.cat([start, filler, end], dim)

    def extra_repr(self) -> str:
        names = ("dim", "pad", "num_input_dims", "value", "index")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


@converts("nn.Padding")
def padding(layer: Layer) -> Padding:
    """nn.Padding(dim, pad, [nInputDim], [value = 0], [index = 1])"""
    layer.ignore("outputSize")
    return Padding(
        layer.integer("dim") - 1,
        layer.integer("pad"),
        optional_integer(layer, "nInputDim"),
        layer.number("value", 0.0),
        layer.integer("index", 1),
    )
