"""What the docstring of model.py says of sizes is true, and a wrong size is refused at the entry of `forward`."""

from __future__ import annotations

import re
from typing import Any

import golden
import lua
import numpy as np
import pytest
import torch

import torchmigrate as tm
from torchmigrate.source.check import instance
from torchmigrate.source.generate import Source, generate
from torchmigrate.source.size_trials import Axis
from torchmigrate.source.sizes import _fitted


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> tm.LuaObject:
    fields = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": size, "kH": size, "dW": stride, "dH": stride}
    weight = lua.numbers(outputs, inputs, size, size, dtype="f4")
    bias = lua.numbers(outputs, dtype="f4")
    return lua.module("nn.SpatialConvolution", **fields, padW=size // 2, padH=size // 2, weight=weight, bias=bias)


def pool() -> tm.LuaObject:
    return lua.module("nn.SpatialMaxPooling", kW=2, kH=2, dW=2, dH=2, padW=0, padH=0, ceil_mode=False)


def up() -> tm.LuaObject:
    return lua.module("nn.SpatialUpSamplingNearest", scale_factor=2)


def skipping() -> tm.LuaObject:
    """What is halved twice and doubled again is joined with what was not."""
    inner = lua.sequential(pool(), pool(), conv(3, 3), up(), up())
    join = lua.module("nn.JoinTable", dimension=2)
    return lua.sequential(lua.module("nn.ConcatTable", modules=[inner, lua.module("nn.Identity")]), join)


def fixed() -> tm.LuaObject:
    """A View of 4 planes of 2 x 3."""
    return lua.sequential(conv(3, 4), pool(), flat(24), lua.linear(24, 5, dtype="f4"))


def flat(count: int) -> tm.LuaObject:
    return lua.module("nn.View", size=tm.Storage("torch.LongStorage", np.array([count])), numElements=count)


def in_fours(first: tm.LuaObject, *then: tm.LuaObject) -> tm.LuaObject:
    """What is done to each frame, `View(-1, 4, 5)`, and what is done to 4 frames in a row."""
    view = tm.Storage("torch.LongStorage", np.array([-1, 4, 5]))
    return lua.sequential(first, lua.module("nn.View", size=view, numElements=-20), *then)


def clips() -> tm.LuaObject:
    """One output for 4 frames."""
    return in_fours(lua.linear(6, 5, dtype="f4"), lua.module("nn.Mean", dimension=2, nInputDims=-1))


def frames() -> tm.LuaObject:
    """A convolution of each frame, and an output for each."""
    back = tm.Storage("torch.LongStorage", np.array([-1, 5]))
    return in_fours(fixed(), lua.module("nn.Tanh"), lua.module("nn.View", size=back, numElements=-5))


def lookup() -> tm.LuaObject:
    weight = lua.numbers(7, 3, dtype="f4")
    return lua.sequential(
        lua.module("nn.LookupTable", weight=weight), lua.module("nn.Mean", dimension=2, nInputDims=-1)
    )


@pytest.mark.parametrize(
    ("make", "example", "said", "fitting", "wrong"),
    [
        pytest.param(
            lambda: lua.sequential(conv(3, 4, 5, 2), pool()),
            image(2, 3, 16, 20),
            "Input: (N, 3, H, W) float32 (H and W at least 3). Output: (N, 4, ⌊(H + 1)/4⌋, ⌊(W + 1)/4⌋) float32.",
            [(1, 3, 9, 7)],
            [(1, 4, 16, 20), (3, 16, 20)],
            id="a quarter",
        ),
        pytest.param(
            skipping,
            image(2, 3, 8, 12),
            "Input: (N, 3, H, W) float32 (H and W a multiple of 4). Output: (N, 6, H, W) float32.",
            [(1, 3, 16, 4)],
            [(1, 3, 16, 6), (1, 3, 9, 12)],
            id="multiples",
        ),
        pytest.param(
            fixed,
            image(2, 3, 4, 6),
            "Input: (N, 3, H, W) float32 (H such as 4 to 5, W such as 6 to 7). Output: (N, 5) float32.",
            [(3, 3, 5, 7), (2, 3, 2, 12)],  # as large a map, which a View of fixed size takes as well
            [(1, 4, 4, 6), (3, 4, 6)],
            id="maps of a size",
        ),
        pytest.param(
            lambda: lua.sequential(conv(3, 4, 5, 2), pool(), flat(16), lua.linear(16, 5, dtype="f4")),
            image(2, 3, 10, 10),
            "Input: (N, 3, H, W) float32 (H and W from 7 to 10). Output: (N, 5) float32.",
            [(1, 3, 7, 10)],
            [(1, 3, 6, 10), (1, 3, 11, 11)],
            id="a range",
        ),
        pytest.param(
            lambda: lua.linear(4, 3, dtype="f4"),
            image(2, 4),
            "Input: (N, 4) float32. Output: (N, 3) float32.",
            [(5, 4)],
            [(5, 3), (4,)],
            id="numbers",
        ),
    ],
)
def test_sizes(make: Any, example: Any, said: str, fitting: list[Any], wrong: list[Any]) -> None:
    source = generate(tm.convert(make()), example)
    assert source.reason == ""
    assert said in " ".join(source.text.split())
    model = instance(source.text, source.state)
    for size in fitting:
        model(torch.zeros(size))
    for size in wrong:
        with pytest.raises(AssertionError, match=re.escape("not " + said.split(" float32")[0].removeprefix("Input: "))):
            model(torch.zeros(size))


@pytest.mark.parametrize("given", [4, 8, 12])
@pytest.mark.parametrize(
    ("make", "size", "shape", "said"),
    [
        pytest.param(frames, (3, 4, 6), "(N, 3, H, W)", "Output: (N, 5) float32.", id="frames"),
        pytest.param(clips, (6,), "(N, 6)", "Output: (N/4, 5) float32.", id="clips"),
    ],
)
@torch.no_grad()
def test_samples_of_which_only_multiples_fit(
    make: Any, size: tuple[int, ...], shape: str, said: str, given: int
) -> None:
    """Behind `View(-1, 4, k)` the number of frames is a multiple of 4, whichever the example has."""
    conversion = tm.convert(make())
    source = generate(conversion, image(given, *size))
    assert source.reason == ""
    text = " ".join(source.text.split())
    assert f"Input: {shape} float32 (N a multiple of 4" in text
    assert said in text
    model = instance(source.text, source.state)
    for count in (4, 8, 12):
        x = image(count, *size)
        assert torch.equal(model(x), conversion.module(x))
    for count in (1, 6, 9):
        with pytest.raises(AssertionError, match=re.escape(f"not {shape} with N a multiple of 4")):
            model(image(count, *size))


def test_a_number_of_samples_that_is_fixed_stays_fixed() -> None:
    view = tm.Storage("torch.LongStorage", np.array([2, 4, 5]))
    network = lua.sequential(lua.linear(3, 5, dtype="f4"), lua.module("nn.View", size=view, numElements=40))
    source = generate(tm.convert(lua.sequential(network, lua.module("nn.Squeeze"))), image(8, 3))
    assert "Input: (8, 3) float32." in source.text


def test_indices() -> None:
    source: Source = generate(tm.convert(lookup()), torch.tensor([[3.0, 7.0, 1.0], [2.0, 2.0, 5.0]]))
    assert "Input: (N, T) indices from 1 to 7. Output: (N, 3) float32." in source.text


def test_many_inputs_do_not_fit_the_first_line() -> None:
    network = lua.module("nn.ParallelTable", modules=[lua.linear(3, 4, dtype="f4") for _ in range(9)])
    text = generate(tm.convert(network), [torch.randn(2, 3) for _ in range(9)]).text
    assert '"""The whole network.\n\n    Inputs: (N, 3), ' in text
    assert "self.linear9 = nn.Linear(3, 4)" in text  # no heads, since they stand on nothing


def test_members_of_tables_are_said_as_they_are_nested() -> None:
    several = lua.module("nn.ParallelTable", modules=[lua.linear(3, 4, dtype="f4"), lua.linear(5, 2, dtype="f4")])
    network = lua.module("nn.ParallelTable", modules=[lookup(), several])
    example = [torch.tensor([[3.0, 7.0, 1.0], [2.0, 2.0, 5.0]]), [torch.randn(2, 3), torch.randn(2, 5)]]
    text = generate(tm.convert(network), example).text
    assert "Inputs: (N, T) indices from 1 to 7; [(N, 3), (N, 5)] float32." in text
    assert "Outputs: (N, 3), [(N, 4), (N, 2)] float32." in text


def test_a_model_whose_output_drops_the_batch_of_one_is_described_by_an_example() -> None:
    conversion = tm.convert(lua.sequential(flat(24), lua.linear(24, 5, dtype="f4")))
    text = generate(conversion, image(1, 4, 2, 3)).text
    assert "Input: (1, 4, 2, 3) float32 (for example). Output then: (5,) float32." in text


def test_a_size_of_which_only_multiples_fit_is_divided_by_these() -> None:
    """Of 64, 128, … up to 512 a 57th part, rounded down, is the same as a 64th."""
    axis = Axis("H", [(0, 2)], (64,))
    assert _fitted(axis, [(64 * n, n) for n in (1, 2, 3, 8)]) == "H/64"
    assert _fitted(axis, [(64 * n, 64 * n - 2) for n in (1, 2, 3, 8)]) == "H - 2"


def test_the_check_can_be_traced_scripted_exported_and_compiled() -> None:
    source = generate(tm.convert(skipping()), image(2, 3, 8, 12))
    model, x = instance(source.text, source.state), image(3, 3, 16, 8)
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    exported = torch.export.export(model, (image(2, 3, 8, 12),), dynamic_shapes=(free,)).module()
    for other in (torch.fx.symbolic_trace(model), exported, torch.compile(model, fullgraph=True, backend="eager")):
        assert torch.equal(other(x), model(x))


def test_a_sequencer_without_memory_is_a_loop() -> None:
    """What remembers states is left out where the file says that none lasts."""
    files = golden.MODELS
    conversion = tm.convert(files / "sentiment_gru_cuda.t7", key="model")
    text = conversion.source(tm.to_torch(tm.load(files / "sentiment_gru_cuda.reference.t7")["input"]))
    assert "for step in xs:" in text
    assert [word for word in ("Remembering", "has_memory", "forget", "remember") if word in text] == []


def test_a_list_of_any_length_is_said_to_be_one() -> None:
    found = tm.load(golden.FIXTURES / "sequenced" / "forgets.t7")
    source = generate(tm.convert(found["module"]), tm.to_torch(found["input"]))
    assert '"""Input: (T, N) indices from 1 to 11.\n\n    Output: a list of T tensors (N, 11) float32.\n' in source.text
    model = instance(source.text, source.state)
    for t, n in ((2, 7), (9, 1), (4, 3)):
        assert [tuple(step.shape) for step in model(torch.ones(t, n))] == [(n, 11)] * t
