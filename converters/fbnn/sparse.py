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


class SegmentedSparseLinear(nn.Module):
    """A linear layer of sparse samples, [segments (K,), keys (K,), values (K,)].

    Number k stands in sample segments[k] (1-based) at keys[k] (1-based); as many samples come out as the largest
    segment says.

    Args:
        in_features: numbers of a sample.
        out_features: numbers of a result.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        segments, keys = x[0].long() - 1, x[1].long() - 1
        rows = self.weight[keys] * x[2].detach().unsqueeze(1)
        return self.bias.expand(int(segments.max()) + 1, -1).index_add(0, segments, rows)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"


@converts("fbnn.SegSparseLinear", traits=Traits(picture="weights"))
def seg_sparse_linear(layer: Layer) -> SegmentedSparseLinear:
    """fbnn.SegSparseLinear(inputSize, outputSize, [useSparseGrad = false], [learningRateMul = 1]), of facebook/fbnn

    Takes {segments, keys, values}: number k stands in sample segments[k] at keys[k]. The input gets no gradient.
    """
    layer.ignore("useSparseGrad", "learningRateMul", "sparseGradWeightPtr", "_sparseBuf", "lastInput")
    return layer.put_all(layer.make(SegmentedSparseLinear, *layer.tensor("weight").shape), "weight", "bias")
