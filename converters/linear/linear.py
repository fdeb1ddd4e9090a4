"""Layers of package nn that multiply by a weight matrix, or look rows up in one."""

from __future__ import annotations

from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits


@converts("nn.Linear", traits=Traits(reads="numbers", picture="weights"))
def linear(layer: Layer) -> nn.Linear:
    """nn.Linear(inputDimension, outputDimension, [bias = true])"""
    out_features, in_features = layer.tensor("weight").shape
    module = layer.make(nn.Linear, in_features, out_features, bias=layer.has("bias"))
    layer.put_all(module, "weight", "bias")
    return module
