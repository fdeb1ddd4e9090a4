"""Source of a model of which no size is known: the same parameters, and the same numbers on the sizes that it takes."""

from __future__ import annotations

from inspect import signature
from typing import Any

import golden
import lua
import pytest
import torch
from networks import Graph

import torchmigrate as tm
from torchmigrate.source.check import check, instance
from torchmigrate.source.examples import Calls, several_sizes
from torchmigrate.source.generate import Source, generate

#: Layers that take a table of any length, and some that read fewer entries than they are given.
FREE = {"nn.CDivTable[3]", "nn.CSubTable[3]", "nn.SelectTable[2]", "nn.Concat[5]"}

#: A table in a table, or the whole input, is given back.
NESTED = {"nn.SelectTable", "nn.ZeroGrad", "nn.projects_adain", "nn.projects_packages", "nn.projects_texture_nets"}

BY_DEFAULT = ("charrnn_checkpoint", "unet_nngraph")
MODELS = [
    pytest.param(row, id=row["name"], marks=() if row["name"] in BY_DEFAULT else pytest.mark.slow)
    for row in golden.model_rows()
]


def parameters_of(source: Source) -> int:
    return len(signature(instance(source.text, source.state).forward).parameters)


@pytest.mark.parametrize("row", MODELS)
@torch.no_grad()
def test_models(row: dict[str, str]) -> None:
    """As many parameters as with a known size, and bit for bit the same numbers."""
    plugins = [golden.FIXTURES / "plugins" / "shave_crop.py"] if row["name"].startswith("style_shave") else []
    conv = tm.convert(golden.MODELS / row["file"], key=None if row["key"] == "-" else row["key"], plugins=plugins)
    example = tm.to_torch(tm.load(golden.MODELS / f"{row['name']}.reference.t7")["input"])
    source = generate(conv, None)
    assert source.structured
    assert check(source.text, source.state, several_sizes(conv, example, Calls())).reason == ""
    assert parameters_of(source) == parameters_of(generate(conv, example))


LAYERS = [row for row in golden.layer_rows() if row.index == 0 and "module" in row.load()]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@torch.no_grad()
def test_layers(part: int) -> None:
    """The first case of each class."""
    wrong = {}
    for row in LAYERS[part::4]:
        case = row.load()
        conv, example = tm.convert(case["module"]), tm.to_torch(case["input"])
        source = generate(conv, None)
        try:
            examples = several_sizes(conv, example, Calls())
        except (NotImplementedError, RuntimeError, AttributeError):
            continue  # an abstract class, or one that is given a list by its rows of tests only
        if isinstance(example, list) and parameters_of(source) == 1:  # a table of any length
            examples = [type(e)([e.input], e.output) for e in examples]
        if str(row) not in FREE and row.file.removesuffix(".t7") not in NESTED:
            wrong[str(row)] = check(source.text, source.state, examples).reason
    assert {name: problem for name, problem in wrong.items() if problem} == {}


def table(typename: str, *modules: tm.LuaObject, **fields: Any) -> tm.LuaObject:
    return lua.module(typename, modules=list(modules), **fields)


def graph_of_three() -> tm.LuaObject:
    graph = Graph()
    start = graph(None)
    first, second, third = [graph(None, start, selectindex=i) for i in (1, 2, 3)]
    joined = graph(lua.module("nn.CMulTable"), graph(lua.linear(4, 3, dtype="f4"), first), third)
    return graph.module(start, graph(lua.module("nn.CAddTable", inplace=False), joined, second))


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        pytest.param(
            lambda: lua.sequential(
                table("nn.ParallelTable", lua.linear(4, 3, dtype="f4"), lua.module("nn.Identity")),
                lua.module("nn.CAddTable", inplace=False),
            ),
            "forward(self, x1: Tensor, x2: Tensor) -> Tensor:",
            id="one for each child of a ParallelTable",
        ),
        pytest.param(graph_of_three, "forward(self, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:", id="an nngraph"),
        pytest.param(
            lambda: lua.sequential(
                table(
                    "nn.ConcatTable",
                    lua.sequential(lua.module("nn.SelectTable", index=2), lua.module("nn.Tanh")),
                    lua.sequential(
                        lua.module("nn.SelectTable", index=1),
                        table("nn.ParallelTable", lua.module("nn.Tanh"), lua.module("nn.Identity")),
                    ),
                )
            ),
            "forward(\n        self, x1: list[Tensor], x2: Tensor\n    )",
            id="a table in a table",
        ),
        pytest.param(lambda: lua.module("nn.DotProduct"), "forward(self, x1: Tensor, x2: Tensor)", id="of two"),
        pytest.param(lambda: lua.module("nn.CAddTable", inplace=False), "forward(self, x: list[Tensor])", id="of any"),
        pytest.param(
            lambda: lua.module("nn.JoinTable", dimension=1, nInputDims=1), "forward(self, x: list[Tensor])", id="joined"
        ),
    ],
)
def test_parameters(make: Any, shown: str) -> None:
    """They follow from what the layers read."""
    source = generate(tm.convert(make()), None)
    assert source.structured
    assert shown in source.text
