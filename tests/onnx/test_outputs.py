"""Outputs that are one tensor, or an input: each has a value of its own in the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lua
import numpy as np
import onnx
import pytest

import torchmigrate as tm
from torchmigrate.onnx.runtime import open_session

IDENTITY = lua.module("nn.Identity")
DROPOUT = lua.module("nn.Dropout", p=0.5, v2=True)
TANH = lua.module("nn.Tanh")
LINEAR = lua.linear(4, 3, dtype="f4")
X = lua.numbers(5, 4, seed=3, dtype="f4")
Y = X @ lua.numbers(3, 4, dtype="f4").T + lua.numbers(3, seed=1, dtype="f4")


def each(*modules: tm.LuaObject) -> tm.LuaObject:
    """nn.ConcatTable():add(…):add(…)"""
    return lua.module("nn.ConcatTable", modules=list(modules))


TWICE = lua.sequential(LINEAR, each(IDENTITY, DROPOUT))


@pytest.mark.parametrize(
    ("net", "expected", "options"),
    [
        (TWICE, [Y, Y], {}),
        (TWICE, [Y, Y], {"simplify": True}),
        (lua.sequential(LINEAR, each(TANH, lua.sequential(DROPOUT, TANH), IDENTITY)), [np.tanh(Y), np.tanh(Y), Y], {}),
        (each(LINEAR, DROPOUT), [Y, X], {}),
        (each(IDENTITY, DROPOUT, LINEAR), [X, X, Y], {}),
        (IDENTITY, [X], {}),
    ],
    ids=["one twice", "simplified", "twice and what they come from", "the input", "the input twice", "nothing else"],
)
def test_each_output_is_there(
    net: tm.LuaObject, expected: list[np.ndarray[Any, Any]], options: dict[str, Any], tmp_path: Path
) -> None:
    exported = tm.export_onnx(tm.convert(net), tmp_path / "m.onnx", input_shape="2x4", **options)
    names = ["output"] if len(expected) == 1 else [f"output_{number + 1}" for number in range(len(expected))]
    assert list(exported.outputs) == names
    got = open_session(exported.path).run(names, {"input": X})
    for one, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-6)
    nodes = onnx.load(exported.path).graph.node
    assert set(exported.nodes) == {node.name for node in nodes}
    made = [name for node in nodes for name in node.output]
    assert len(made) == len(set(made))
