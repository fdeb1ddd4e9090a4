"""Layers that compare sentences: castorini/MP-CNN-Torch, shuohangwang/SeqMatchSeq, cheng6076/SNLI-attention."""

from __future__ import annotations

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts
from ....model.traits import Traits
from ...linear.lookup import LookupTable


class CosineOfAll(nn.Module):
    """The cosine of the angle between all numbers of x[0] and all of x[1], of size (1,)."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        a, b = x[0].flatten(), x[1].flatten()
        return ((a * b).sum() / (a * a).sum().sqrt() / (b * b).sum().sqrt()).reshape(1)


@converts("nn.CsDis")
def cosine_of_all(layer: Layer) -> CosineOfAll:
    """nn.CsDis(), of castorini/MP-CNN-Torch

    Takes {a, b}, without a batch; gives the cosine of the angle between them.
    """
    layer.ignore("w1", "w2", "w22", "w3", "w32")
    return CosineOfAll()


class AddDimension(nn.Module):
    """Puts a dimension of size 1 in front."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unsqueeze(0)


@converts("nn.PaddingReshape", traits=Traits(output="pass"))
def add_dimension(layer: Layer) -> AddDimension:
    """nn.PaddingReshape(), of castorini/MP-CNN-Torch

    Puts a dimension of size 1 in front, whatever sizes it was made with.
    """
    layer.ignore("size", "batchsize", "nelement", "batchMode", "_input", "_gradOutput")
    return AddDimension()


class AddToRows(nn.Module):
    """Adds vectors, the entries behind the first, to each row of the first entry (N, D) of a list."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        y = x[0]
        for vector in x[1:]:
            y = y + vector.reshape(1, -1)
        return y


@converts("nn.CAddRepTable")
def add_to_rows(layer: Layer) -> AddToRows:
    """nn.CAddRepTable(), of shuohangwang/SeqMatchSeq

    Takes {rows (N, D), vector (D), …} and adds the vectors to each row.
    """
    return AddToRows()


class AddRepeated(nn.Module):
    """Adds x[1], repeated along `dim` (0-based), to x[0]; both are matrices."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        times = x[0].shape[self.dim] // x[1].shape[self.dim]
        return x[0] + (x[1].repeat(1, times) if self.dim == 1 else x[1].repeat(times, 1))

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


@converts("nn.AddScalar", "nn.ReplicateAdd")
def add_repeated(layer: Layer) -> AddRepeated:
    """nn.AddScalar(), of cheng6076/SNLI-attention

    Takes {x (N, k D), y (N, D)} and adds y, repeated k times, to x; nn.ReplicateAdd is the same.
    """
    return AddRepeated(1)


@converts("nn.TensorAddVector")
def tensor_add_vector(layer: Layer) -> AddRepeated:
    """nn.TensorAddVector(), of cheng6076/SNLI-attention

    Takes {x (k N, D), y (N, D)} and adds y, repeated k times, to x. Its gradient is the derivative where N is 1.
    """
    return AddRepeated(0)


class WhereMasked(nn.Module):
    """Of [before (N, …), after (N, …), mask (N)] the rows of `after` where the mask is 1, else of `before`.

    The mask gets no gradient.
    """

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        mask = x[2].detach().reshape(x[2].shape[0], -1)
        return x[0] * (1 - mask) + x[1] * mask


@converts("nn.Maskh", traits=Traits(reuses="nothing"))
def where_masked(layer: Layer) -> WhereMasked:
    """nn.Maskh(), of cheng6076/SNLI-attention

    Takes {before (N, D), after (N, D), mask (N)}; the mask gets no gradient.
    """
    return WhereMasked()


class MaskedMean(nn.Module):
    """Of [[x0, x1, …] each (N, D), mask (N, T)] the sum of the entries over the sum of the mask.

    The first entry is never masked, but its gradient is; the mask gets no gradient.
    """

    def forward(self, x: list[list[torch.Tensor] | torch.Tensor]) -> torch.Tensor:
        entries, mask = x[0], x[1].detach()  # type: ignore[union-attr]
        first = entries[0] * mask[:, :1]
        y = first + (entries[0] - first).detach()
        for i in range(1, len(entries)):
            y = y + entries[i] * mask[:, i : i + 1]
        return y / mask.sum(1, keepdim=True)


@converts("nn.MaskAveTable", traits=Traits(reuses="nothing"))
def masked_mean(layer: Layer) -> MaskedMean:
    """nn.MaskAveTable(), of cheng6076/SNLI-attention

    Takes {{x1, x2, …}, mask}. The first entry is never masked, but its gradient is.
    """
    return MaskedMean()


class SumOf(nn.Module):
    """The sum (or mean) over a dimension, which becomes 1; of a batch of inputs of `input_dims` over the next one."""

    def __init__(self, dim: int, input_dims: int | None = None, mean: bool = False) -> None:
        super().__init__()
        self.dim = dim
        self.input_dims = input_dims
        self.mean = mean

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dim = self.dim
        if dim >= 0 and self.input_dims is not None and x.dim() == self.input_dims + 1:
            dim += 1
        return x.mean(dim, keepdim=True) if self.mean else x.sum(dim, keepdim=True)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, input_dims={self.input_dims}, mean={self.mean}"


@converts("nn.SumKeepdim")
def sum_keepdim(layer: Layer) -> SumOf:
    """nn.SumKeepdim([dimension = 1], [nInputDims], [sizeAverage = false]), of cheng6076/SNLI-attention

    Torch7 has a backward pass only where the dimension has one entry.
    """
    layer.ignore("_gradOutput")
    dim = layer.integer("dimension", 1)
    dims = layer.integer("nInputDims") if layer.has("nInputDims") else None
    return SumOf(dim if dim < 0 else dim - 1, dims, layer.flag("sizeAverage", False))


class FixedLookupTable(LookupTable):
    """Rows of a weight by their 1-based index; the weight gets no gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.embedding(x.long() - 1, self.weight.detach())


LOOKS_UP = Traits(reuses="rows", reads="indices", picture="weights")


@converts("nn.LookupTableEmbedding_fixed", traits=LOOKS_UP)
def fixed_lookup_table(layer: Layer) -> FixedLookupTable:
    """nn.LookupTableEmbedding_fixed(nIndex, nOutput, wordvec), of cheng6076/SNLI-attention

    nn.LookupTable whose weight gets no gradient.
    """
    layer.ignore("_indices", "_inputView")
    return layer.put(layer.make(FixedLookupTable, *layer.tensor("weight").shape), "weight")


@converts("nn.LookupTableEmbedding_update", traits=LOOKS_UP)
def updated_lookup_table(layer: Layer) -> LookupTable:
    """nn.LookupTableEmbedding_update(nIndex, nOutput, wordvec), of cheng6076/SNLI-attention

    nn.LookupTable; in Torch7 the gradients of the rows of known words are multiplied by 0.1.
    """
    layer.ignore("_count", "_input", "gradMask", "shouldScaleGradByFreq")
    layer.note("in Torch7 the gradients of the rows of known words are multiplied by 0.1; here they are not")
    return layer.put(layer.make(LookupTable, *layer.tensor("weight").shape), "weight")
