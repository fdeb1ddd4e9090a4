"""Layers of facebook/fbnn that drop numbers at random in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from ..pointwise.dropout import MaskDropout

DROPOUT = Traits(keeps_size=True, picture="dropout", label=("p",))


@converts("fbnn.Dropout", traits=DROPOUT)
def dropout(layer: Layer) -> MaskDropout:
    """fbnn.Dropout([p = 0.5]), of facebook/fbnn

    Does not rescale in training, but multiplies by 1-p in evaluation.
    """
    layer.ignore("noise")
    return MaskDropout(layer.number("p"), rescale=False)


class IndividualDropout(nn.Module):
    """In training keeps the numbers of each column with a probability of its own, and divides by it.

    Args:
        keep: the probabilities, one for each column.
    """

    def __init__(self, keep: Sequence[float]) -> None:
        super().__init__()
        self.keep = list(keep)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x.clone()
        keep = torch.tensor(self.keep, dtype=x.dtype, device=x.device).expand_as(x)
        return x * torch.bernoulli(keep) / keep

    def extra_repr(self) -> str:
        return f"keep={self.keep}"


@converts("fbnn.IndividualDropout", traits=Traits(reads="numbers", keeps_size=True, picture="dropout"))
def individual_dropout(layer: Layer) -> IndividualDropout:
    """fbnn.IndividualDropout(p), of facebook/fbnn

    Each column of a batch has a probability of its own; in evaluation nothing changes. The field p holds 1-p.
    """
    layer.ignore("noise", "noisegpu", "pgpu")
    return IndividualDropout(layer.numbers("p"))


class NestedDropout(nn.Module):
    """In training keeps the first b columns of each row, b from a geometric distribution, and divides by (1-p)^column.

    Args:
        p: the chance that b is 1.
    """

    def __init__(self, p: float = 0.01) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x.clone()
        columns = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)
        last = x.new_empty(x.shape[0], 1).geometric_(self.p)
        left = 1 - torch.cumsum(self.p * (1 - self.p) ** columns, 0)
        return torch.where(columns < last, x / left, 0)

    def extra_repr(self) -> str:
        return f"p={self.p}"


@converts("fbnn.NestedDropout", traits=Traits(reads="numbers", keeps_size=True, picture="dropout", label=("p",)))
def nested_dropout(layer: Layer) -> NestedDropout:
    """fbnn.NestedDropout([p = 0.01]), of facebook/fbnn

    In training it drops what lies behind a random column of each row; in evaluation nothing changes.
    """
    layer.ignore("noise", "logp", "log1p", "v2", "inplace", "stochastic_inference", "flag", "lazy", "mono")
    return NestedDropout(layer.number("p"))
