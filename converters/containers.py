"""Containers of package nn: modules that hold modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..layer import Layer
from ..registry import converts


@converts("nn.Sequential")
def sequential(layer: Layer) -> nn.Sequential:
    """nn.Sequential()"""
    return nn.Sequential(*layer.modules())


class ConcatTable(nn.ModuleList):
    """Gives its input to every child; returns the list of their outputs."""

    def forward(self, x: Any) -> list[Any]:
        return [module(x) for module in self]


@converts("nn.ConcatTable")
def concat_table(layer: Layer) -> ConcatTable:
    """nn.ConcatTable()"""
    return ConcatTable(layer.modules())


class ParallelTable(nn.ModuleList):
    """Gives the i-th entry of its input list to the i-th child; returns the list of their outputs."""

    def forward(self, x: list[Any]) -> list[Any]:
        return [module(item) for module, item in zip(self, x, strict=False)]


@converts("nn.ParallelTable")
def parallel_table(layer: Layer) -> ParallelTable:
    """nn.ParallelTable()"""
    return ParallelTable(layer.modules())


class Concat(nn.ModuleList):
    """Gives its input to every child and joins their outputs along `dim` (0-based, the batch counts)."""

    def __init__(self, modules: list[nn.Module], dim: int) -> None:
        super().__init__(modules)
        self.dim = dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([module(x) for module in self], self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


@converts("nn.Concat")
def concat(layer: Layer) -> Concat:
    """nn.Concat(dim)"""
    return Concat(layer.modules(), layer.integer("dimension") - 1)


@converts("nn.Identity")
def identity(layer: Layer) -> nn.Identity:
    """nn.Identity()"""
    return nn.Identity()
