"""Layers of package nn that combine, split and rearrange tables of tensors.

Those that compute element by element compare the numbers of elements only, as in Torch7: the result has the shape of
the first entry.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from ..pointwise.activations import is_inplace
from ..reshaping.shapes import optional_integer
from ..reshaping.slices import zero_based

OPERANDS = Traits(flow="operands", picture="merge")
PASSES = Traits(output="pass")


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


@converts("nn.CAddTable", traits=OPERANDS)
def c_add_table(layer: Layer) -> AddEntries:
    """nn.CAddTable([inplace = false])"""
    return AddEntries(is_inplace(layer))


class SubtractEntries(nn.Module):
    """The first entry of a list minus the second."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] - (x[1] if x[1].shape == x[0].shape else x[1].reshape(x[0].shape))


@converts("nn.CSubTable", traits=OPERANDS)
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


@converts("nn.CMulTable", traits=OPERANDS)
def c_mul_table(layer: Layer) -> MultiplyEntries:
    """nn.CMulTable()"""
    layer.ignore("tout")
    return MultiplyEntries()


class DivideEntries(nn.Module):
    """The first entry of a list divided by the second."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] / (x[1] if x[1].shape == x[0].shape else x[1].reshape(x[0].shape))


@converts("nn.CDivTable", traits=Traits(picture="merge"))
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


@converts("nn.CMaxTable")
def c_max_table(layer: Layer) -> MaxEntries:
    """nn.CMaxTable()"""
    layer.ignore("maxIdx", "mask", "maxVals", "gradMaxVals", "maskByteTensor")
    return MaxEntries()


class MinEntries(nn.Module):
    """The smallest of the entries of a list, element by element; of equal ones the first gets the gradient."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        y = x[0].clone()
        for item in x[1:]:
            other = item if item.shape == y.shape else item.reshape(y.shape)
            y = torch.where(other < y, other, y)
        return y


@converts("nn.CMinTable")
def c_min_table(layer: Layer) -> MinEntries:
    """nn.CMinTable()"""
    layer.ignore("minIdx", "mask", "minVals", "gradMaxVals", "maskByteTensor")
    return MinEntries()


class AddToEach(nn.Module):
    """Of [tensor, list]: adds the tensor to every entry of the list."""

    def forward(self, x: list[Any]) -> list[torch.Tensor]:
        tensor: torch.Tensor = x[0]
        return [tensor + (item if item.shape == tensor.shape else item.reshape(tensor.shape)) for item in x[1]]


@converts("nn.CAddTensorTable")
def c_add_tensor_table(layer: Layer) -> AddToEach:
    """nn.CAddTensorTable()"""
    return AddToEach()


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
        batch = self.dim >= 0 and self.num_input_dims is not None and x[0].dim() == self.num_input_dims + 1
        dim = self.dim + batch
        return torch.cat([item if item.dim() == x[0].dim() else self.fitted(item, x[0], dim) for item in x], dim)

    def fitted(self, item: torch.Tensor, first: torch.Tensor, dim: int) -> torch.Tensor:
        """An entry of another rank, of which Torch7 takes the size along `dim` and then just the numbers."""
        place = dim % first.dim()
        return item.reshape(*first.shape[:place], item.shape[place], *first.shape[place + 1 :])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_input_dims={self.num_input_dims}"


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
        batch = self.dim >= 0 and self.num_input_dims is not None and x.dim() == self.num_input_dims + 1
        dim = self.dim + batch
        return [x.select(dim, i) for i in range(x.shape[dim])]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_input_dims={self.num_input_dims}"


@converts("nn.SplitTable", traits=PASSES)
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


@converts("nn.SelectTable", traits=Traits(output="pass", flow="select"))
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


@converts("nn.FlattenTable", traits=Traits(output="pass", flow="flatten"))
def flatten_table(layer: Layer) -> FlattenTable:
    """nn.FlattenTable()"""
    layer.ignore("input_map")
    return FlattenTable()


class ReverseTable(nn.Module):
    """Returns the entries of a list in reverse order."""

    def forward(self, x: list[Any]) -> list[Any]:
        return list(x[::-1])


@converts("nn.ReverseTable", traits=PASSES)
def reverse_table(layer: Layer) -> ReverseTable:
    """nn.ReverseTable()"""
    return ReverseTable()


class ZipTable(nn.Module):
    """Turns [[a1, a2], [b1, b2], …] into [[a1, b1, …], [a2, b2, …]]."""

    def forward(self, x: list[list[Any]]) -> list[list[Any]]:
        return [list(items) for items in zip(*x, strict=True)]


@converts("nn.ZipTable", traits=PASSES)
def zip_table(layer: Layer) -> ZipTable:
    """nn.ZipTable()"""
    return ZipTable()


class ZipOneToMany(nn.Module):
    """Turns [v, [a, b, …]] into [[v, a], [v, b], …]."""

    def forward(self, x: list[Any]) -> list[list[Any]]:
        return [[x[0], item] for item in x[1]]


@converts("nn.ZipTableOneToMany", traits=PASSES)
def zip_table_one_to_many(layer: Layer) -> ZipOneToMany:
    """nn.ZipTableOneToMany()"""
    layer.ignore("gradInputEl")
    return ZipOneToMany()
