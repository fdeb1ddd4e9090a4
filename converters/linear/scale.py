"""What model.py has in place of an nn.CMul of samples of one dimension."""

from __future__ import annotations

import torch
from torch import nn

from ...model.registry import module_form
from .weights import CMul


class Scale(nn.Module):
    """Multiplies each feature by a weight."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.weight = nn.Parameter(torch.empty(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


@module_form("stock", CMul)
def _scale(module: CMul, x: torch.Tensor) -> Scale | None:
    """What a CMul does with samples of one dimension."""
    if module.weight.dim() != 1 or x.dim() != 2 or x.shape[1:] != module.weight.shape:
        return None
    with torch.device("meta"):
        scale = Scale(len(module.weight))
    scale.weight = module.weight
    return scale.train(module.training)
