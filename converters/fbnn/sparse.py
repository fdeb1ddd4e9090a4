"""Layers of facebook/fbnn for sparse numbers: pairs of an index and a number in the last dimension."""

from __future__ import annotations

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits


class SparseThreshold(nn.Module):
    """A threshold of the numbers; the indices stay as they are.

    Args:
        threshold: runs on the numbers.
    """

    def __init__(self, threshold: nn.Module) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[..., 0], self.threshold(x[..., 1])], -1)


@converts("nn.SparseThreshold", traits=Traits(children=("module",), keeps_size=True))
def sparse_threshold(layer: Layer) -> SparseThreshold:
    """nn.SparseThreshold([th = 1e-6], [v = 0]), of facebook/fbnn

    nn.Threshold of sparse numbers (…, 2): pairs of an index and a number.
    """
    return SparseThreshold(layer.module("module"))


class SparseLookupTable(nn.Module):
    """Sparse rows by their 1-based index, scaled: of (N, 2) pairs (index, scale) it gives (N, entries, 2).

    Args:
        rows: how many there are.
        entries: pairs (index, number) of a row.
    """

    def __init__(self, rows: int, entries: int) -> None:
        super().__init__()
        self.rows = rows
        self.entries = entries
        self.weight = nn.Parameter(torch.empty(rows, entries, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.weight[x[:, 0].long() - 1]
        return torch.stack([found[..., 0], found[..., 1] * x[:, 1:]], -1)

    def extra_repr(self) -> str:
        return f"{self.rows}, {self.entries}"


@converts("nn.SparseLookupTable", traits=Traits(picture="weights"))
def sparse_lookup_table(layer: Layer) -> SparseLookupTable:
    """nn.SparseLookupTable(indices, [sparseGrad]), of facebook/fbnn

    Takes pairs (index, scale); gives the sparse row of each index, its numbers scaled.
    """
    layer.ignore("nEntities", "nIndices", "sparseGrad")
    rows, entries, _ = layer.tensor("weight").shape
    return layer.put(layer.make(SparseLookupTable, rows, entries), "weight")
