"""Tables whose parts have different sizes, slices of nn.Parallel, and the end of a search."""

from __future__ import annotations

from functools import partial
from typing import Any

import lua
import pytest
import torch
from networks import RELU, Graph, cell, chain, conv, linear, lookup, pool, reshape, table, temporal, up, view

import torchmigrate as tm
from torchmigrate.base.tensor_trees import shapes
from torchmigrate.shapes.infer import infer_input
from torchmigrate.shapes.observed_run import Runs
from torchmigrate.shapes.search_budget import Budget, Spent
from torchmigrate.shapes.trials import Trials

IDENTITY = lua.module("nn.Identity")


def joined(dimension: int) -> tm.LuaObject:
    return lua.module("nn.JoinTable", dimension=dimension, nInputDims=0)


def together(*parts: tm.LuaObject) -> tm.LuaObject:
    return chain(table("ParallelTable", *parts), joined(2))


def siamese(side: int, *, reshaped: bool) -> tm.LuaObject:
    """deepcompare's: each half of the planes is an image."""
    first = [reshape(1, side, side), conv(1, 4, 7, 3)] if reshaped else [conv(2, 4, 7, 3)]
    branch = chain(*first, RELU, pool(2, 2), view(-1, dims=3))
    outputs = 4 * (((side - 7) // 3 + 1) // 2) ** 2
    return chain(table("Parallel", branch, branch, inputDimension=2, outputDimension=2), linear(2 * outputs))


def context_encoder() -> tm.LuaObject:
    image = chain(*(m for i in range(5) for m in (conv(3 if i == 0 else 4, 4, 4, 2, 1), RELU)), conv(4, 6, 4))
    return chain(together(image, conv(5, 2, 1)), up(8, 3, 4, 2, 1))


def conditional() -> tm.LuaObject:
    """The noise is joined with what comes of the text."""
    text = chain(linear(10, 3), lua.module("nn.Replicate", nfeatures=1, dim=3, ndim=None))
    return chain(
        together(IDENTITY, chain(text, lua.module("nn.Replicate", nfeatures=1, dim=4, ndim=None))), up(8, 2, 4, 1, 0)
    )


def letters_and_word() -> tm.LuaObject:
    """Of kim's character-aware models: the letters of a word, and the word."""
    pooled = chain(lookup(20, 5), temporal(5, 4, 3), lua.module("nn.Max", dimension=2))
    return chain(together(chain(pooled, view(4)), lookup(30, 6)), linear(10))


def scales() -> tm.LuaObject:
    """An entry of a table that a layer SelectTable takes, within an nngraph."""
    graph = Graph()
    start = graph(IDENTITY, graph(None))
    small, large = [graph(lua.module("nn.SelectTable", index=i), start) for i in (1, 2)]
    low = graph(lua.module("nn.SpatialUpSamplingNearest", scale_factor=2), graph(conv(6, 3, 3, 1, 1), small))
    return graph.module(graph.nodes[0], graph(conv(9, 2, 3), graph(joined(2), low, large)))


def nested_states() -> tm.LuaObject:
    graph = Graph()
    start = graph(None)
    x = graph(linear(5, 7), graph(None, start, selectindex=1))
    state = graph(IDENTITY, graph(None, start, selectindex=3))
    first, second = [graph(linear(n, 7), graph(None, state, selectindex=i)) for i, n in ((1, 3), (2, 4))]
    return graph.module(start, graph(lua.module("nn.CAddTable", inplace=False), x, first, second))


def bag_of_words() -> tm.LuaObject:
    """Of namas: a layer SelectTable that gets two nodes passes on one of them."""
    graph = Graph()
    start = graph(None)
    words = graph(lookup(9, 4), graph(None, start, selectindex=1))
    others = [graph(IDENTITY, graph(None, start, selectindex=i)) for i in (2, 3)]
    kept = graph(
        linear(4, 4),
        graph(lua.module("nn.SelectTable", index=1), graph(lua.module("nn.Max", dimension=2), words), others[0]),
    )
    return graph.module(start, kept)


def softmaxes() -> tm.LuaObject:
    plain, images = lua.module("nn.SoftMax"), lua.module("nn.SpatialSoftMax")
    return table("ParallelTable", plain, plain, images, images)


FOUND = [
    (bag_of_words, "{2x16,2,2}", "takes indices"),
    (lambda: siamese(64, reshaped=True), "2x2x64x64", "64x64 was tried and fits; nn.Parallel takes 2 slices"),
    (lambda: siamese(32, reshaped=False), "2x2x2x32x32", "nn.Parallel takes 2 slices"),
    (context_encoder, "{2x3x128x128,2x5x1x1}", "follows from what the layers refuse"),
    (conditional, "{2x5x1x1,2x10}", "follows from what the layers refuse"),
    (letters_and_word, "{2x5,2}", "takes a table of 2"),
    (lambda: cell(IDENTITY, 6, 8), "{2x6,2x8,2x8}", "follows from what the layers refuse"),
    (lambda: chain(joined(2), conv(4, 6, 3)), "{2x3x64x64,2x1x64x64}", "(so does {2x2x64x64,2x2x64x64}: --input-shape"),
    (softmaxes, "{2x3x224x224,2x3x224x224,2x3x224x224,2x3x224x224}", "no layer tells the sizes of 1, 2: --input-shape"),
    (scales, "{2x6x112x112,2x6x224x224}", "112x112 was tried"),
    # no layer reads the second part
    (nested_states, "{2x5,2x5,{2x3,2x4}}", "nn.Linear at 1 takes 5 numbers"),
]


@pytest.mark.parametrize(("make", "sizes", "words"), FOUND, ids=[f"{row[1]}-{i}" for i, row in enumerate(FOUND)])
def test_tables_of_different_parts(make: Any, sizes: str, words: str) -> None:
    conversion = tm.convert(make())
    guess = infer_input(conversion)
    assert shapes(guess.value) == sizes
    assert words in guess.reason
    conversion.module(guess.value)


def test_batches_of_matrices_are_not_repeated_as_pytorch_would() -> None:
    runs = Runs(tm.convert(chain(lua.module("nn.MM", transA=False, transB=False))), Budget())
    assert [runs.on([(3, 4, 6), (batch, 6, 1)]).fits for batch in (1, 3)] == [False, True]


def test_without_numbers_a_transposed_convolution_takes_only_its_channels() -> None:
    trials = Trials(tm.convert(chain(up(5, 2, 4, 1, 0))), Budget())
    assert [trials.fits((2, planes, 3, 3)) for planes in (4, 5, 6)] == [False, True, False]


def test_a_search_ends_when_its_budget_is_spent() -> None:
    trials = Trials(tm.convert(chain(linear(7, 5), linear(5, 3))), Budget(3))
    assert [trials.fits((samples, 7)) for samples in (2, 3, 4)] == [True, False, False]
    assert trials.count == 2
    assert trials.budget.spent


def test_arithmetic_counts() -> None:
    budget = Budget(3)
    model = tm.convert(chain(linear(2000, 2000), linear(2000, 2000))).module
    value = lua.numbers(1000, 2000, dtype="f4")
    with pytest.raises(Spent), budget:
        model(torch.from_numpy(value))


def test_it_is_said_that_a_search_was_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchmigrate.shapes.infer.Budget", partial(Budget, 2))
    with pytest.raises(tm.UsageError, match="1 tried, then the search was ended"):
        infer_input(tm.convert(chain(lookup(30, 6), linear(6), linear(3))))
