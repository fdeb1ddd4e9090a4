"""Torch7's own `parameters()`: which tensors of a Lua module are its parameters, in which order."""

from __future__ import annotations

from typing import Any

import torchmigrate as tm

#: Fields that `parameters()` returns, for classes where they are not weight and bias.
FIELDS: dict[str, tuple[str, ...]] = {
    "nn.SeqLSTMP": ("weight", "bias", "weightO"),
    "nn.WeightNorm": ("v", "g", "bias"),
    "nn.LinearWeightNorm": ("v", "g", "bias"),
    "nn.PartialLinear": ("network.modules.1.modules.2.weight", "bias"),
    "nn.WeightedEuclidean": ("weight", "diagCov"),
}

#: Where a class keeps its children, if not in `modules`.
CHILDREN: dict[str, tuple[str, ...]] = {"nn.SpatialPyramid": ("unfocused_pipeline",)}


def parameters(obj: tm.LuaObject) -> list[tm.Tensor]:
    """The tensors that Torch7's `module:parameters()` lists, repeated where modules repeat."""
    found: list[tm.Tensor] = []
    if obj.typename in CHILDREN:
        for name in CHILDREN[obj.typename]:
            child = obj.get(name)
            for item in child.list() if isinstance(child, tm.LuaTable) else [child]:
                found += parameters(item)
        return found
    children = obj.get("modules")
    if isinstance(children, tm.LuaTable) and obj.typename not in FIELDS:
        for child in children.list():
            found += parameters(child)
        return found
    for name in FIELDS.get(obj.typename, ("weight", "bias")):
        value: Any = obj
        for part in name.split("."):
            value = None if value is None else value.get(float(part) if part.isdigit() else part)
        if isinstance(value, tm.Tensor) and value.numel():
            found.append(value)
    return found
