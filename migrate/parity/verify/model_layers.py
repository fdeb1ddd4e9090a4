"""What a report says of the model itself: its layers, and weights that are not finite."""

from __future__ import annotations

import math
from collections.abc import Collection

from torch import nn

from ...model.conversion import ConvertedModel
from ..report.comparison import ModelLayer


def layers_of(conv: ConvertedModel) -> list[ModelLayer]:
    """Every layer of the model, in its order."""
    ours = {id(record.module) for record in conv.layers}
    return [
        ModelLayer(
            tuple(record.paths),
            record.typename,
            type(record.module).__name__,
            sum(parameter.numel() for parameter in record.module.parameters()),
            sum(parameter.numel() for parameter in _own_parameters(record.module, ours)),
        )
        for record in conv.layers
    ]


def not_finite_of(conv: ConvertedModel) -> str:
    """Which weights and statistics of the model hold NaN or Inf: the first few, by their layers; "" if none does."""
    by_module = {id(record.module): f"{record.typename} at {record.path or 'the top'}" for record in conv.layers}
    found = []
    for name, part in conv.module.named_modules():
        for field, tensor in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            if tensor.is_floating_point() and not math.isfinite(float(tensor.detach().sum())):
                bad = int((~tensor.detach().isfinite()).sum())
                if bad:
                    found.append(f"{bad} in {field} of {by_module.get(id(part), name or 'the top')}")
    return ", ".join(found[:3]) + (f", and in {len(found) - 3} more" if len(found) > 3 else "")


def _own_parameters(module: nn.Module, layers: Collection[int]) -> list[nn.Parameter]:
    """The parameters of a layer that belong to no layer in it."""
    inner = [part for part in module.modules() if part is not module and id(part) in layers]
    theirs = {id(parameter) for part in inner for parameter in part.parameters()}
    return [parameter for parameter in module.parameters() if id(parameter) not in theirs]
