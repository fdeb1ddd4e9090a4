"""Layers of package nn that combine, split and rearrange tables of tensors.

Those that compute element by element compare the numbers of elements only: the result has the shape of the first entry.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, converts_to, module_form
from ...model.traits import Traits
from ...source.expressions import (
    Value,
    Variable,
    dims_of_entries,
    entry,
    is_tensors,
    is_unknown,
    python,
    type_of,
    variables,
)
from ...source.forms import Picks, Structure
from ..pointwise.activations import is_inplace
from ..reshaping.shapes import PASSES, dim_within_batch, optional_integer
from ..reshaping.slices import dim_of_any, dim_within, zero_based

OPERANDS = Traits(flow="operands", picture="merge")
TERMS = replace(OPERANDS, begins_with_first=True)

#: An expression of more operands is no longer read by anybody, and of some thousands no longer by Python.
_MOST_OPERANDS = 40


def _operator(module: nn.Module, value: list[Variable], text: str, count: int | None = None) -> Value:
    """An operator of `a` and `b` between the first `count` entries of a list, which all take the shape of the first.

    None where there are many: the layer is called then, which goes through them in a loop.
    """
    terms = value[:count] if isinstance(value, list) and (is_tensors(value) or is_unknown(value)) else []
    if not 2 <= len(terms) <= _MOST_OPERANDS:
        return None
    first, *others = terms
    found: ast.expr = first
    for term in others:
        operand = term if term.shapes and term.shapes == first.shapes else python("b.reshape_as(a)", a=first, b=term)
        found = python("a.add_(b)" if getattr(module, "inplace", False) else text, a=found, b=operand)
    return found


class AddEntries(nn.Module):
    """Adds up the entries of a list."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        y = x[0] if self.inplace else x[0].clone()
        for item in x[1:]:
            other = item if item.shape == y.shape else item.reshape(y.shape)
            y = y.add_(other) if self.inplace else y + other
        return y

    def extra_repr(self) -> str:
        return f"inplace={self.inplace}"


module_form("structure", AddEntries)(Structure(merges="sum"))
module_form("python of a list", AddEntries)(partial(_operator, text="a + b"))


@converts("nn.CAddTable", traits=replace(TERMS, zeros_by_chance=True))
def c_add_table(layer: Layer) -> AddEntries:
    """nn.CAddTable([inplace = false])"""
    return AddEntries(is_inplace(layer))


class SubtractEntries(nn.Module):
    """The first entry of a list minus the second."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] - (x[1] if x[1].shape == x[0].shape else x[1].reshape(x[0].shape))


module_form("python of a list", SubtractEntries)(partial(_operator, text="a - b", count=2))


@converts("nn.CSubTable", traits=TERMS)
def c_sub_table(layer: Layer) -> SubtractEntries:
    """nn.CSubTable()

    Entries behind the second one are not used, as in Torch7.
    """
    return SubtractEntries()


class MultiplyEntries(nn.Module):
    """Multiplies the entries of a list element by element."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        y = x[0].clone()
        for item in x[1:]:
            y = y * (item if item.shape == y.shape else item.reshape(y.shape))
        return y


module_form("structure", MultiplyEntries)(Structure(merges="product"))
module_form("python of a list", MultiplyEntries)(partial(_operator, text="a * b"))
converts_to(MultiplyEntries, "nn.CMulTable", ignore=("tout",), traits=TERMS)


class DivideEntries(nn.Module):
    """The first entry of a list divided by the second."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] / (x[1] if x[1].shape == x[0].shape else x[1].reshape(x[0].shape))


module_form("python of a list", DivideEntries)(partial(_operator, text="a / b", count=2))


@converts("nn.CDivTable", traits=Traits(begins_with_first=True, picture="merge"))
def c_div_table(layer: Layer) -> DivideEntries:
    """nn.CDivTable()

    Entries behind the second one are not used, as in Torch7.
    """
    return DivideEntries()


class MaxEntries(nn.Module):
    """The largest of the entries of a list, element by element; of equal ones the first gets the gradient."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        y = x[0].clone()
        for item in x[1:]:
            other = item if item.shape == y.shape else item.reshape(y.shape)
            y = torch.where(other > y, other, y)
        return y


converts_to(
    MaxEntries,
    "nn.CMaxTable",
    ignore=("maxIdx", "mask", "maxVals", "gradMaxVals", "maskByteTensor"),
    traits=Traits(begins_with_first=True),
)


class MinEntries(nn.Module):
    """The smallest of the entries of a list, element by element; of equal ones the first gets the gradient."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        y = x[0].clone()
        for item in x[1:]:
            other = item if item.shape == y.shape else item.reshape(y.shape)
            y = torch.where(other < y, other, y)
        return y


converts_to(
    MinEntries,
    "nn.CMinTable",
    ignore=("minIdx", "mask", "minVals", "gradMaxVals", "maskByteTensor"),
    traits=Traits(begins_with_first=True),
)


class AddToEach(nn.Module):
    """Of [tensor, list]: adds the tensor to every entry of the list."""

    def forward(self, x: list[Any]) -> list[torch.Tensor]:
        tensor: torch.Tensor = x[0]
        return [tensor + (item if item.shape == tensor.shape else item.reshape(tensor.shape)) for item in x[1]]


converts_to(AddToEach, "nn.CAddTensorTable", traits=Traits(reuses="nothing"))


class JoinTable(nn.Module):
    """Joins the entries of a list along a dimension; entries of other ranks take the shape of the first.

    Args:
        dim: the dimension (0-based; negative: from the end).
        num_input_dims: entries of exactly one dimension more are batches, and `dim` counts within their samples.
    """

    def __init__(self, dim: int, num_input_dims: int | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.num_input_dims = num_input_dims

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        dim = dim_within_batch(x[0], self.dim, self.num_input_dims)
        return torch.cat([self.fitted(item, x[0], dim) for item in x], dim)

    def fitted(self, item: torch.Tensor, first: torch.Tensor, dim: int) -> torch.Tensor:
        """An entry; of another rank, Torch7 takes the size along `dim` and then just the numbers."""
        if item.dim() == first.dim():
            return item
        size = list(first.shape)
        size[dim] = item.shape[dim % first.dim()]
        return item.reshape(size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_input_dims={self.num_input_dims}"


module_form("structure", JoinTable)(Structure(merges="join"))


@module_form("python of a list", JoinTable)
def _join(module: JoinTable, value: Value) -> Value:
    if is_tensors(value):
        return python("torch.cat(value, dim)", value=value, dim=dim_within(module, value[0].dims))
    if isinstance(value, Variable) and (dims := dims_of_entries(value)):
        return python("torch.cat(value, dim)", value=value, dim=dim_within(module, dims))
    any_size = isinstance(value, list) and value and is_unknown(value)
    return python("torch.cat(value, dim)", value=value, dim=dim_of_any(module, value[0])) if any_size else None


@converts("nn.JoinTable", traits=OPERANDS)
def join_table(layer: Layer) -> JoinTable:
    """nn.JoinTable(dimension, [nInputDims])"""
    layer.ignore("size")
    return JoinTable(zero_based(layer, "dimension"), optional_integer(layer, "nInputDims"))


class SplitTable(nn.Module):
    """Splits a tensor into the list of its slices along a dimension.

    Args:
        dim: the dimension (0-based; negative: from the end).
        num_input_dims: an input of exactly one dimension more is a batch, and `dim` counts within its samples.
    """

    def __init__(self, dim: int, num_input_dims: int | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.num_input_dims = num_input_dims

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        dim = dim_within_batch(x, self.dim, self.num_input_dims)
        return [x.select(dim, i) for i in range(x.shape[dim])]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_input_dims={self.num_input_dims}"


@module_form("python of any size", SplitTable)
@module_form("python", SplitTable)
def _split(module: SplitTable, x: Variable) -> Value:
    if not x.shapes:
        return python("x.unbind(dim)", x=x, dim=dim_of_any(module, x))
    dim = dim_within(module, x.dims)
    lengths = {shape[dim] for shape in x.shapes}
    if lengths == {1}:
        return [python("x.select(dim, 0)", x=x, dim=dim)]
    # as long as the input is, or of a known length
    return python("x.unbind(dim)" if len(lengths) == 1 else "list(x.unbind(dim))", x=x, dim=dim)


@converts("nn.SplitTable", traits=replace(PASSES, reuses="nothing"))
def split_table(layer: Layer) -> SplitTable:
    """nn.SplitTable(dimension, [nInputDims])

    A vector is split into tensors of no dimension, where Torch7 makes Lua numbers.
    """
    return SplitTable(zero_based(layer, "dimension"), optional_integer(layer, "nInputDims"))


class SelectTable(nn.Module):
    """Picks one entry of a list (0-based; negative: from the end), or of a dict."""

    def __init__(self, index: int | str) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: Any) -> Any:
        return x[self.index]

    def extra_repr(self) -> str:
        return f"index={self.index!r}"


@module_form("python of a list", SelectTable)
def _select(module: SelectTable, value: Value) -> Value:
    return None if isinstance(module.index, str) else entry(value, module.index)


@converts("nn.SelectTable", traits=Traits(output="pass", reuses="nothing", flow="select"))
def select_table(layer: Layer) -> SelectTable:
    """nn.SelectTable(index)"""
    if isinstance(layer.value("index"), str):
        return SelectTable(layer.text("index"))
    return SelectTable(zero_based(layer, "index"))


class NarrowTable(nn.Module):
    """Picks a range of the entries of a list (`offset` is 0-based); beyond the end there are fewer."""

    def __init__(self, offset: int, length: int = 1) -> None:
        super().__init__()
        self.offset = offset
        self.length = length

    def forward(self, x: list[Any]) -> list[Any]:
        return list(x[self.offset : self.offset + self.length])

    def extra_repr(self) -> str:
        return f"offset={self.offset}, length={self.length}"


module_form("followed", SelectTable, NarrowTable)(True)


@module_form("structure", SelectTable, NarrowTable)
def _picks(module: SelectTable | NarrowTable) -> Structure:
    start = module.index if isinstance(module, SelectTable) else module.offset
    known = isinstance(start, int) and start >= 0
    return Structure(lists=True, picks=Picks(int(start), isinstance(module, NarrowTable)) if known else None)


@module_form("python of a list", NarrowTable)
def _narrow(module: NarrowTable, value: Value) -> Value:
    return value[module.offset : module.offset + module.length] if isinstance(value, list) else None


@converts("nn.NarrowTable", traits=Traits(output="pass", flow="narrow"))
def narrow_table(layer: Layer) -> NarrowTable:
    """nn.NarrowTable(offset, [length = 1])"""
    offset = layer.integer("offset")
    if offset < 1:
        layer.refuse(f"its offset is {offset}, but Torch7 counts from 1")
    return NarrowTable(offset - 1, max(layer.integer("length", 1), 0))


class FlattenTable(nn.Module):
    """Makes one flat list of nested lists."""

    def forward(self, x: list[Any]) -> list[torch.Tensor]:
        flat: list[torch.Tensor] = []
        for item in x:
            if isinstance(item, (list, tuple)):
                flat.extend(self.forward(list(item)))
            else:
                flat.append(item)
        return flat


module_form("flattens", FlattenTable)(True)


@module_form("python of a list", FlattenTable)
def _flatten(module: FlattenTable, value: Value) -> Value:
    flat = variables(value) if isinstance(value, list) else []
    return flat if flat and all(type_of(entry) == "Tensor" for entry in flat) else None


converts_to(
    FlattenTable,
    "nn.FlattenTable",
    ignore=("input_map",),
    traits=Traits(output="pass", reuses="nothing", flow="flatten"),
)


module_form("structure", MaxEntries, MinEntries, AddToEach, SplitTable)(Structure(lists=True))
module_form("cell part", AddEntries, FlattenTable, MultiplyEntries, NarrowTable, SelectTable, SplitTable)("function")
