"""What a reader sees of model.py: classes for what repeats, names for what is known, Python for plumbing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lua
import numpy as np
import pytest
import torch
from networks import Graph

import torchmigrate as tm
from torchmigrate.source import classes
from torchmigrate.source.check import instance
from torchmigrate.source.generate import Source, generate


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> tm.LuaObject:
    fields = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": size, "kH": size, "dW": stride, "dH": stride}
    weight = lua.numbers(outputs, inputs, size, size, seed=outputs, dtype="f4")
    bias = lua.numbers(outputs, dtype="f4")
    return lua.module("nn.SpatialConvolution", **fields, padW=size // 2, padH=size // 2, weight=weight, bias=bias)


def norm(planes: int) -> tm.LuaObject:
    mean, var = lua.numbers(planes, seed=1, dtype="f4"), abs(lua.numbers(planes, seed=2, dtype="f4")) + 1
    weight, bias = lua.numbers(planes, seed=3, dtype="f4"), lua.numbers(planes, seed=4, dtype="f4")
    fields = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var}
    return lua.module("nn.SpatialBatchNormalization", eps=1e-5, momentum=0.1, affine=True, nDim=4, **fields)


def relu() -> tm.LuaObject:
    return lua.module("nn.ReLU", threshold=0, val=0, inplace=True)


def pool() -> tm.LuaObject:
    return lua.module("nn.SpatialMaxPooling", kW=2, kH=2, dW=2, dH=2, padW=0, padH=0, ceil_mode=False)


def table(typename: str, *modules: tm.LuaObject, **fields: Any) -> tm.LuaObject:
    return lua.module(typename, modules=list(modules), **fields)


def residual(inputs: int, outputs: int, stride: int = 1) -> tm.LuaObject:
    """A basic block of fb.resnet.torch with a shortcut of type B."""
    same = inputs == outputs and stride == 1
    branch = lua.sequential(
        conv(inputs, outputs, 3, stride), norm(outputs), relu(), conv(outputs, outputs), norm(outputs)
    )
    shortcut = lua.module("nn.Identity") if same else lua.sequential(conv(inputs, outputs, 1, stride), norm(outputs))
    return lua.sequential(table("nn.ConcatTable", branch, shortcut), lua.module("nn.CAddTable", inplace=True), relu())


def resnet() -> tm.LuaObject:
    blocks = [residual(4, 4), residual(4, 6, 2), residual(6, 6), residual(6, 6), residual(6, 6)]
    return lua.sequential(conv(3, 4), norm(4), relu(), lua.sequential(*blocks), pool())


def vgg() -> tm.LuaObject:
    layers: list[tm.LuaObject] = []
    planes = 3
    for stage in ([4, 4], [5, 5], [6, 6, 6], [7, 7, 7], [8, 8, 8]):
        for outputs in stage:
            layers += [conv(planes, outputs), relu()]
            planes = outputs
        layers.append(pool())
    return lua.sequential(*layers)


def inception(inputs: int, first: int, reduced: int, second: int, third: int) -> tm.LuaObject:
    branches = [
        lua.sequential(conv(inputs, first, 1), relu()),
        lua.sequential(conv(inputs, reduced, 1), relu(), conv(reduced, second), relu()),
        lua.sequential(conv(inputs, third, 1), relu()),
    ]
    return table("nn.DepthConcat", *branches, dimension=2)


def googlenet() -> tm.LuaObject:
    return lua.sequential(conv(3, 8), inception(8, 2, 3, 4, 5), inception(11, 4, 5, 6, 7), pool())


def scaled_residual() -> tm.LuaObject:
    scale = lua.module("nn.MulConstant", constant_scalar=0.5, inplace=False)
    branch = lua.sequential(conv(3, 3), norm(3), scale)
    return lua.sequential(
        table("nn.ConcatTable", lua.module("nn.Identity"), branch), lua.module("nn.CAddTable", inplace=False)
    )


def padded_shortcut() -> tm.LuaObject:
    zeros = lua.module("nn.MulConstant", constant_scalar=0, inplace=False)
    shortcut = table("nn.Concat", lua.module("nn.Identity"), zeros, dimension=2)
    add = lua.module("nn.CAddTable", inplace=True)
    first = lua.sequential(table("nn.ConcatTable", lua.sequential(conv(3, 6), norm(6)), shortcut), add)
    return lua.sequential(first, residual(6, 6))


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def source_of(value: tm.LuaObject, example: Any) -> Source:
    source = generate(tm.convert(value), example)
    assert source.structured, source.reason
    return source


@pytest.mark.parametrize(
    ("make", "size", "shown", "absent"),
    [
        pytest.param(
            resnet,
            16,
            ["class ResidualBlock(", "if in_channels == out_channels", "*(ResidualBlock(6, 6) for _ in range(3))"],
            ["Bottleneck", "ResidualBlock2"],
            id="one class for blocks with and without a projection",
        ),
        pytest.param(
            vgg,
            64,
            ["ConvBlock(5, 6),\n            ConvBlock(6, 7),\n            ConvBlock(7, 8)"],
            ["ConvBlock2"],
            id="no class reaches over a pooling",
        ),
        pytest.param(
            googlenet,
            8,
            ["reduced2: int", "out2: int", "Inception(8, 2, 3, 4, 5)", "torch.cat("],
            ["DepthConcat", "channels2"],
            id="a DepthConcat that fills nothing up, its widths named by its branches",
        ),
        pytest.param(
            scaled_residual,
            8,
            ["return x + self.branch(x) * 0.5"],
            ["MulConstant"],
            id="an operator at the end of a branch",
        ),
        pytest.param(
            padded_shortcut,
            8,
            ["class PadChannels(nn.Module):\n    def forward", "torch.cat([x, x * 0.0], 1)"],
            ["DenseLayer"],
            id="zeros for new channels",
        ),
    ],
)
def test_reads_well(make: Callable[[], tm.LuaObject], size: int, shown: list[str], absent: list[str]) -> None:
    text = source_of(make(), image(2, 3, size, size)).text
    assert [part for part in shown if part not in text] == []
    assert [part for part in absent if part in text] == []


def test_residuals_that_are_nodes_of_an_nngraph_are_one_class() -> None:
    graph = Graph()
    start = graph(None)
    low = graph(residual(4, 4), graph(pool(), graph(residual(3, 4), start)))
    up = graph(lua.module("nn.SpatialUpSamplingNearest", scale_factor=2), graph(residual(4, 4), low))
    out = graph(lua.module("nn.CAddTable", inplace=False), graph(residual(3, 4), start), up)
    text = source_of(graph.module(start, out), image(2, 3, 8, 8)).text
    assert text.count("class ") == 3  # with that of batch norm
    assert text.count("ResidualBlock(") == 5


def test_in_place_layer_that_changes_a_skip_connection_comes_before_it() -> None:
    graph = Graph()
    start = graph(None)
    x = graph(conv(3, 4), start)
    branch = graph(conv(4, 4), graph(relu(), x))
    text = source_of(
        graph.module(start, graph(lua.module("nn.CAddTable", inplace=False), branch, x)), image(2, 3, 8, 8)
    ).text
    assert "nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()" in text
    assert "x = self.features(x)  # Torch7 activates in place, so skip connections too" in text
    assert "return self.conv(x) + x" in text


def lstm(graph: Graph, x: tm.LuaObject, c: tm.LuaObject, h: tm.LuaObject) -> tuple[tm.LuaObject, tm.LuaObject]:
    """A layer of char-rnn with 3 units that gets 5 numbers."""

    def node(kind: str, *sources: tm.LuaObject) -> tm.LuaObject:
        return graph(lua.module(f"nn.{kind}", inplace=False), *sources)

    sums = node("CAddTable", graph(lua.linear(5, 12, dtype="f4"), x), graph(lua.linear(3, 12, seed=7, dtype="f4"), h))
    sizes = {name: tm.Storage("torch.LongStorage", np.array(size)) for name, size in (("size", [4, 3]),)}
    split = graph(lua.module("nn.SplitTable", dimension=2), graph(lua.module("nn.Reshape", nelement=12, **sizes), sums))
    parts = [graph(None, split, selectindex=i) for i in (1, 2, 3, 4)]
    i, f, o = [graph(lua.module("nn.Sigmoid"), part) for part in parts[:3]]
    g = graph(lua.module("nn.Tanh"), parts[3])
    c = node("CAddTable", node("CMulTable", f, c), node("CMulTable", i, g))
    return c, node("CMulTable", o, graph(lua.module("nn.Tanh"), c))


def test_states_and_gates_have_their_names() -> None:
    graph = Graph()
    start = graph(None)
    x, c, h = [graph(None, start, selectindex=i) for i in (1, 2, 3)]
    text = source_of(graph.module(start, *lstm(graph, x, c, h)), [image(2, 5), image(2, 3), image(2, 3)]).text
    assert "def forward(self, x: Tensor, c: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:" in text
    assert "i, f, o, g = (self.gates_x(x) + self.gates_h(h)).chunk(4, 1)" in text
    assert "c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)" in text
    assert text.count("return c, torch.sigmoid(o) * torch.tanh(c)") == 1


@pytest.mark.parametrize("kept", ["update", "rest"])
def test_layers_are_called_by_the_gate_that_they_make(kept: str) -> None:
    """A GRU, whose new state may be `z * h + (1 - z) * g` or the other way round."""
    graph = Graph()
    start = graph(None)
    x, h = [graph(None, start, selectindex=i) for i in (1, 2)]

    def node(kind: str, *sources: tm.LuaObject, **fields: float) -> tm.LuaObject:
        return graph(lua.module(f"nn.{kind}", inplace=False, **fields), *sources)

    def summed(a: tm.LuaObject, b: tm.LuaObject) -> tm.LuaObject:
        return node("CAddTable", graph(lua.linear(4, 4, dtype="f4"), a), graph(lua.linear(4, 4, dtype="f4"), b))

    z, r = node("Sigmoid", summed(x, h)), node("Sigmoid", summed(x, h))
    g = node("Tanh", summed(x, node("CMulTable", r, h)))
    rest = node("AddConstant", node("MulConstant", z, constant_scalar=-1.0), constant_scalar=1.0)
    old, new = (z, rest) if kept == "update" else (rest, z)
    made = node("CAddTable", node("CMulTable", old, h), node("CMulTable", new, g))
    source = source_of(graph.module(start, made), [image(2, 4), image(2, 4)])
    assert "z = torch.sigmoid(self.update_x(x) + self.update_h(h))" in source.text
    assert "r = torch.sigmoid(self.reset_x(x) + self.reset_h(h))" in source.text
    assert "self.candidate_x(x) + self.candidate_h(r * h)" in source.text
    assert f"return {'z * h' if kept == 'update' else '(1.0 - z) * h'} + " in source.text


def test_places_of_maxima_are_passed_from_class_to_class() -> None:
    pooling = pool()

    def added(*branches: tm.LuaObject) -> tm.LuaObject:
        return lua.sequential(table("nn.ConcatTable", *branches), lua.module("nn.CAddTable", inplace=False))

    def unpooling() -> tm.LuaObject:
        return lua.module("nn.SpatialMaxUnpooling", pooling=pooling)

    down = added(pooling, lua.sequential(pool(), conv(4, 4)))
    up = added(lua.sequential(conv(4, 4), unpooling()), lua.sequential(conv(4, 4, 1), unpooling()))
    model = lua.sequential(conv(3, 4), down, conv(4, 4), up)
    source = source_of(model, image(2, 3, 8, 12))
    assert "def forward(self, x: Tensor) -> tuple[Tensor, Tensor, list[int]]:" in source.text
    assert "def forward(self, x: Tensor, indices: Tensor, size: list[int]) -> Tensor:" in source.text
    assert source.text.count("indices, 2, output_size=size)") == 2
    odd = image(2, 3, 9, 13)
    assert torch.equal(instance(source.text, source.state)(odd), tm.convert(model).module(odd))


def test_layers_that_are_one_expression_are_written_as_that() -> None:
    padding = lua.module("nn.Padding", dim=1, pad=2, nInputDim=3, value=0, index=1)
    branch = lua.sequential(lua.module("nn.Square"), conv(3, 4), lua.module("nn.Abs"), conv(4, 5), padding)
    joined = table("nn.Concat", branch, conv(3, 2), dimension=2)
    text = source_of(lua.sequential(joined, relu()), image(2, 3, 8, 12)).text
    assert [name for name in ("class Square", "class Abs", "class Padding") if name in text] == []
    assert "(x * x)" in text
    assert "F.pad(" in text.replace("nn.functional.pad(", "F.pad(")
    assert "(0, 0, 0, 0, 0, 2)" in text


def test_branches_of_other_sizes_get_their_zeros() -> None:
    view = lua.module("nn.View", size=tm.Storage("torch.LongStorage", np.array([480])), numElements=480)
    joined = table("nn.DepthConcat", conv(3, 2, 1), lua.sequential(conv(3, 3), pool()), dimension=2)
    model = lua.sequential(joined, view, lua.linear(480, 2, dtype="f4"))
    source = source_of(model, image(2, 3, 8, 12))
    assert "(3, 3, 2, 2)" in source.text
    assert "DepthConcat" not in source.text
    x = image(3, 3, 8, 12)
    assert torch.equal(instance(source.text, source.state)(x), tm.convert(model).module(x))


def test_random_layers_run_in_the_order_of_the_file() -> None:
    def drawn(ratio: float) -> tm.LuaObject:
        fields = {"poolSizeW": 2, "poolSizeH": 2, "ratioW": ratio, "ratioH": ratio}
        return lua.module("nn.SpatialFractionalMaxPooling", **fields)

    branches = table("nn.ConcatTable", drawn(0.5), lua.sequential(drawn(0.5), conv(3, 3)))
    text = source_of(lua.sequential(branches, lua.module("nn.CSubTable"), relu()), image(2, 3, 8, 12)).text
    assert "x2 = self." in text  # none stands within an expression, where another might run before


def test_branches_without_layers_are_no_class() -> None:
    def part(first: int) -> tm.LuaObject:
        return lua.module("nn.Narrow", dimension=2, index=first, length=2)

    joined = table("nn.Concat", part(3), part(1), dimension=2)
    model = lua.sequential(conv(3, 4), lua.sequential(joined, relu()), lua.sequential(joined, relu()))
    source = source_of(model, image(2, 3, 8, 12))
    assert "class Branches" not in source.text
    x = image(3, 3, 6, 10)
    assert torch.equal(instance(source.text, source.state)(x), tm.convert(model).module(x))


def test_forward_methods_of_blocks_are_written_once_to_compare_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each pair of blocks."""
    count = 10
    written: list[Any] = []
    forward_of = classes.forward_of

    def counted(block: Any) -> Any:
        written.append(block)
        return forward_of(block)

    def block(convolutions: int) -> tm.LuaObject:
        branch = lua.sequential(*(conv(3, 3) for _ in range(convolutions)), norm(3))
        added = table("nn.ConcatTable", branch, lua.module("nn.Identity"))
        return lua.sequential(
            added, lua.module("nn.CAddTable", inplace=True), *(relu() for _ in range(convolutions % 2))
        )

    monkeypatch.setattr(classes, "forward_of", counted)
    source_of(lua.sequential(*(block(1 + i) for i in range(count))), image(2, 3, 8, 12))
    assert 0 < len(written) <= 2 * count
