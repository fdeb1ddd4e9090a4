"""Layers of package nn that multiply by a weight matrix, or look rows up in one."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from ...t7 import LuaObject, Tensor


def sizes_before_product(obj: LuaObject, output: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The sizes (N, inputs) that a matrix of the layer turned into `output`."""
    weight = obj.get("weight")
    if isinstance(weight, Tensor) and len(weight.size) == 2:
        yield (output[0], weight.size[1])


LINEAR = Traits(reads="numbers", picture="weights", sizes_before=sizes_before_product)


@converts("nn.Linear", traits=LINEAR)
def linear(layer: Layer) -> nn.Linear:
    """nn.Linear(inputDimension, outputDimension, [bias = true])"""
    out_features, in_features = layer.tensor("weight").shape
    return layer.put_all(layer.make(nn.Linear, in_features, out_features, bias=layer.has("bias")), "weight", "bias")
