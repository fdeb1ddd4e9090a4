"""Tables of vectors, looked up by 1-based indices."""

from __future__ import annotations

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits


class LookupTable(nn.Module):
    """Rows of a weight by their 1-based index, given as whole or floating numbers.

    Args:
        num_embeddings: number of rows.
        embedding_dim: numbers of a row.
        padding_value: 1-based index of a row that gets no gradient; 0 is none.
        max_norm: rows that are looked up are first scaled down, in place, to this norm; None: they are not.
        norm_type: p of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it was looked up.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_value: int = 0,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
    ) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_value = padding_value
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.weight = nn.Parameter(torch.empty(num_embeddings, embedding_dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.long() - 1
        if self.max_norm is not None:
            self.renormalize(rows)
        padding = self.padding_value - 1 if self.padding_value > 0 else None
        return nn.functional.embedding(rows, self.weight, padding, scale_grad_by_freq=self.scale_grad_by_freq)

    def renormalize(self, rows: torch.Tensor) -> None:
        """Scales the rows that are looked up down to `max_norm`, in place."""
        with torch.no_grad():
            found = self.weight[rows.reshape(-1)]
            norms = found.norm(self.norm_type, dim=1, keepdim=True)
            scaled = found * (self.max_norm / (norms + 1e-7))
            self.weight[rows.reshape(-1)] = torch.where(norms > self.max_norm, scaled, found)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}, padding_value={self.padding_value}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}, norm_type={self.norm_type}"
        return f"{text}, scale_grad_by_freq={self.scale_grad_by_freq}"


@module_form("embedding", LookupTable)
def _embedding(module: LookupTable) -> nn.Embedding | None:
    padding = module.padding_value - 1 if module.padding_value > 0 else None
    by_freq, weight = module.scale_grad_by_freq, module.weight
    rows, size = weight.shape
    embedding = nn.Embedding(rows, size, padding, scale_grad_by_freq=by_freq, _weight=weight.detach())
    embedding.weight = weight
    return embedding if module.max_norm is None else None


@converts("nn.LookupTable", traits=Traits(reuses="rows", reads="indices", most_dims=2, picture="weights"))
def lookup_table(layer: Layer) -> LookupTable:
    """nn.LookupTable(nIndex, nOutput, [paddingValue = 0], [maxNorm], [normType = 2])

    Indices are 1-based, whole or floating numbers. With maxNorm the rows that are looked up are scaled in place.
    """
    layer.ignore("copiedInput", "_count", "_sorted", "_indices", "size", "nBackward")
    rows, columns = layer.tensor("weight").shape
    module = layer.make(
        LookupTable,
        rows,
        columns,
        int(layer.number("paddingValue", 0)),
        layer.number("maxNorm") if layer.has("maxNorm") and layer.value("maxNorm") is not False else None,
        layer.number("normType", 2.0) if layer.value("normType", 2.0) is not False else 2.0,
        layer.flag("shouldScaleGradByFreq", False),
    )
    return layer.put_all(module, "weight")


@converts("Embedding", traits=Traits(reads="indices", picture="weights"))
def embedding(layer: Layer) -> LookupTable:
    """Embedding(inputSize, outputSize), of wojciechz/learning_to_execute and oxford-cs-ml-2015/practical6

    Indices are 1-based.
    """
    layer.ignore("outputSize")
    rows, columns = layer.tensor("weight").shape
    return layer.put(layer.make(LookupTable, rows, columns), "weight")
