"""Parts of an input that are indices: which they are, from where to where they go, and the sizes beside them."""

from __future__ import annotations

from typing import Any

import lua
import pytest
import torch
from networks import Graph, cell, chain, linear, longs, lookup, table, view

import torchmigrate as tm
from torchmigrate.base.tensor_trees import leaves, shapes
from torchmigrate.shapes.infer import infer_input
from torchmigrate.shapes.random_input import make_input


def transpose() -> tm.LuaObject:
    return lua.module("nn.Transpose", permutations=[[1, 2]])


def joined(dimension: int) -> tm.LuaObject:
    return lua.module("nn.JoinTable", dimension=dimension, nInputDims=0)


def masked(rows: int, width: int) -> tm.LuaObject:
    return lua.module("nn.LookupTableMaskZero", weight=lua.numbers(rows, width, dtype="f4"))


def one_hot(**fields: Any) -> tm.LuaObject:
    return lua.module("OneHot", **fields)


#: The layers, the sizes, and the least and the largest index.
DRAWN = [
    (lookup(3, 4), (40, 2), 1, 3),
    (masked(4, 2), (40, 2), 0, 3),
    (one_hot(outputSize=5), (90,), 1, 5),
    (one_hot(depth=5), (90,), 1, 5),
    (lua.module("Embedding", outputSize=4, weight=lua.numbers(6, 4, dtype="f4")), (90,), 1, 6),
    # layers that copy what they get
    (chain(transpose(), lookup(3, 4)), (40, 2), 1, 3),
    (chain(lua.module("nn.Contiguous"), view(-1), lookup(3, 4)), (40, 2), 1, 3),
    (chain(lua.module("nn.Replicate", nfeatures=2, dim=1, ndim=None), lookup(3, 4)), (40, 2), 1, 3),
    (chain(joined(2), lookup(3, 4)), [(40, 2), (40, 3)], 1, 3),
    # a tensor that two tables read
    (chain(table("ConcatTable", masked(4, 2), lookup(6, 2)), joined(3)), (40, 2), 1, 3),
]


@pytest.mark.parametrize(("layer", "sizes", "least", "largest"), DRAWN, ids=[f"row{i}" for i in range(len(DRAWN))])
def test_indices_are_drawn_from_the_rows_of_the_table(layer: Any, sizes: Any, least: int, largest: int) -> None:
    conversion = tm.convert(layer)
    value = make_input(conversion, sizes)
    conversion.module(value)
    for _, tensor in leaves(value):
        assert torch.equal(tensor, tensor.round())
        assert (int(tensor.min()), int(tensor.max())) == (least, largest)


def test_numbers_beside_indices_stay_numbers() -> None:
    parts = table("ParallelTable", chain(transpose(), lookup(3, 4)), lua.module("nn.Identity"))
    indices, numbers = make_input(tm.convert(chain(parts)), [(2, 5), (7, 3)])
    assert torch.equal(indices, indices.round())
    assert not torch.equal(numbers, numbers.round())


def recurrent(reads: tm.LuaObject, units: int, **fields: Any) -> tm.LuaObject:
    add = lua.module("nn.Add", bias=lua.numbers(units, dtype="f4"))
    back, squash = linear(units, units), lua.module("nn.Sigmoid")
    first = chain(reads, add, squash)
    merge = lua.module("nn.CAddTable", inplace=False)
    both = chain(table("ParallelTable", reads, back), merge, squash)
    names = {"startModule": add, "inputModule": reads, "feedbackModule": back, "transferModule": squash}
    held = {**names, "mergeModule": merge, "initialModule": first, "recurrentModule": both}
    return lua.module("nn.Recurrent", modules=[add, reads, back, squash, merge], rho=5, step=1, **held, **fields)


def torch_rnn() -> tm.LuaObject:
    weight, bias = lua.numbers(4 + 5, 4 * 5, dtype="f4"), lua.numbers(4 * 5, dtype="f4")
    lstm = lua.module("nn.LSTM", input_dim=4, hidden_dim=5, weight=weight, bias=bias, remember_states=False)
    views = [view(1, -1, dims=2), view(1, -1, dims=2)]
    net = chain(lookup(9, 4), lstm, views[0], linear(5, 9), views[1])
    return lua.module("nn.LanguageModel", net=net, view1=views[0], view2=views[1], bn_view_in=[], bn_view_out=[])


def captioner() -> tm.LuaObject:
    graph = Graph()
    start = graph(None)
    x, c, h = [graph(lua.module("nn.Identity"), graph(None, start, selectindex=i)) for i in (1, 2, 3)]
    step = graph(None, graph(cell(lua.module("nn.Identity"), 4, 5), x, c, h))
    c, h = [graph(None, step, selectindex=i) for i in (1, 2)]
    core = graph.module(start, c, h, graph(lua.module("nn.LogSoftMax"), graph(linear(5, 10), h)))
    sizes = {"vocab_size": 9, "rnn_size": 5, "num_layers": 1, "seq_length": 7}
    return lua.module("nn.LanguageModel", core=core, lookup_table=lookup(10, 4), **sizes)


FOUND = [
    (lambda: chain(masked(4, 5), lua.module("nn.Sum", dimension=2), linear(5)), "2x16", "takes indices"),
    (lambda: chain(transpose(), lookup(3, 4)), "2x16", "takes indices"),
    (lambda: recurrent(lookup(4, 3), 3), "2", "one for each sample"),
    (lambda: recurrent(lookup(4, 3), 3, output=lua.numbers(2, 3, dtype="f4")), "2", "nn.LookupTable at 2"),
    (lambda: cell(one_hot(outputSize=11, _type="torch.FloatTensor"), 11, 8), "{2,2x8,2x8}", "OneHot"),
    (torch_rnn, "2x16", "nn.LookupTable at net.1 takes indices"),
    (captioner, "{2x4,5x2}", "nn.LookupTable at lookup_table takes indices"),
]


@pytest.mark.parametrize(("make", "sizes", "words"), FOUND, ids=[f"{row[1]}-{i}" for i, row in enumerate(FOUND)])
def test_sizes_of_models_that_read_indices(make: Any, sizes: str, words: str) -> None:
    conversion = tm.convert(make())
    guess = infer_input(conversion)
    assert shapes(guess.value) == sizes
    assert words in guess.reason
    conversion.module(guess.value)


def test_the_hint_tells_indices() -> None:
    size = {"size": longs(7), "numElements": 7.0}
    model = chain(table("ParallelTable", masked(4, 5), lookup(6, 5)), lua.module("nn.View", **size))
    with pytest.raises(tm.UsageError, match=r"indices from 0 to 3.*indices from 1 to 6.*\{2x16,2x16\}"):
        infer_input(tm.convert(model))
