"""Weights and layers of another floating type than their model's: they take that type, and it is said."""

from __future__ import annotations

from typing import Any

import lua
import pytest
import torch

import torchmigrate as tm

FLOAT, DOUBLE = "torch.FloatTensor", "torch.DoubleTensor"


def linear(inputs: int, outputs: int, dtype: str, kind: str) -> tm.LuaObject:
    layer = lua.linear(inputs, outputs, dtype=dtype)
    return lua.module("nn.Linear", **{str(key): value for key, value in layer.items()}, _type=kind)


def model(kind: str, *layers: Any) -> tm.LuaObject:
    return lua.module("nn.Sequential", modules=list(layers), _type=kind)


#: A Float model, what is of another type in it, and what is said of it.
OTHERS = [
    (linear(4, 3, "f8", FLOAT), "the type of its weight is float64 where the layer's is float32"),
    (linear(4, 3, "f8", DOUBLE), "its type is float64 where the model's is float32"),
]


@pytest.mark.parametrize(("layer", "said"), OTHERS)
def test_the_type_of_the_model_is_taken(layer: tm.LuaObject, said: str) -> None:
    conversion = tm.convert(model(FLOAT, linear(5, 4, "f4", FLOAT), layer))
    assert {tensor.dtype for tensor in conversion.module.parameters()} == {torch.float32}
    assert torch.equal(conversion.module[1].weight, tm.to_torch(layer["weight"]).float())
    assert any(path == "2" and text.startswith(said) for path, text in conversion.notes)
    assert conversion.module(torch.ones(2, 5)).shape == (2, 3)


def test_layers_between_those_that_change_types_keep_theirs() -> None:
    copies = [lua.module("nn.Copy", intype=a, outtype=b) for a, b in ((FLOAT, DOUBLE), (DOUBLE, FLOAT))]
    conversion = tm.convert(model(FLOAT, linear(5, 4, "f4", FLOAT), copies[0], linear(4, 3, "f8", DOUBLE), copies[1]))
    assert conversion.module[2].weight.dtype == torch.float64
    assert not conversion.notes
