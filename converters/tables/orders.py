"""Layers of package nn that put the entries of tables in another order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ...model.registry import converts_to, module_form
from ...source.expressions import Value, python
from ..reshaping.shapes import PASSES


class ReverseTable(nn.Module):
    """Returns the entries of a list in reverse order."""

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        return [x[len(x) - 1 - i] for i in range(len(x))]


@module_form("python of a list", ReverseTable)
def _reverse(module: ReverseTable, value: Value) -> Value:
    return value[::-1] if isinstance(value, list) else python("x[::-1]", x=value)


converts_to(ReverseTable, "nn.ReverseTable", traits=PASSES)


class ZipTable(nn.Module):
    """Turns [[a1, a2], [b1, b2], …] into [[a1, b1, …], [a2, b2, …]]."""

    def forward(self, x: list[list[torch.Tensor]]) -> list[list[torch.Tensor]]:
        counts = [len(items) for items in x]
        if min(counts) != max(counts):
            raise ValueError(f"the lists have {counts} entries, and should have as many")
        return [[items[i] for items in x] for i in range(counts[0])]


@module_form("python of a list", ZipTable)
def _zip(module: ZipTable, value: Value) -> Value:
    if isinstance(value, list) and all(isinstance(item, list) for item in value):
        return [list(items) for items in zip(*value, strict=True)]
    if not isinstance(value, list) or any(isinstance(item, list) or not item.values for item in value):
        return None
    return python("[list(items) for items in zip(*value, strict=True)]", value=value)


converts_to(ZipTable, "nn.ZipTable", traits=replace(PASSES, reuses="nothing"))


class ZipOneToMany(nn.Module):
    """Turns [v, [a, b, …]] into [[v, a], [v, b], …]."""

    def forward(self, x: list[Any]) -> list[list[Any]]:
        return [[x[0], item] for item in x[1]]


@module_form("python of a list", ZipOneToMany)
def _zip_one_to_many(module: ZipOneToMany, value: Value) -> Value:
    return [[value[0], item] for item in value[1]] if isinstance(value, list) and isinstance(value[1], list) else None


converts_to(ZipOneToMany, "nn.ZipTableOneToMany", ignore=("gradInputEl",), traits=replace(PASSES, reuses="nothing"))
