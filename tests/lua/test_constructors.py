"""Constructors and methods of modules leave in objects what Torch7's left there."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from golden import FIXTURES
from lua_objects import differences
from lua_runtimes import evaluated, runtime

import torchmigrate as tm

pytest.importorskip("lupa")

from torchmigrate.lua.result import Results
from torchmigrate.lua.runtime import LuaStopped, Runtime

ROWS = [
    pytest.param(package, row, id=f"{package}: {row['text'][:80]}")
    for package in ("nn", "nngraph", "rnn", "dpnn", "nnx", "stn", "inn")
    for row in tm.load(FIXTURES / "lua" / f"{package}.t7").list()
]


@cache
def with_package(package: str) -> Runtime:
    """One Lua for all rows of a package, which leave nothing behind."""
    lua = runtime()
    for name in ("nn", "nngraph", package) if package == "cudnn" else ("nn", package):
        lua.guarded(lua.host.require, name)
    return lua


def made(package: str, text: str) -> Any:
    lua = with_package(package)
    return Results(lua).value(lua.text(f"return {text}", "row"))


@pytest.mark.parametrize(("package", "row"), ROWS)
def test_as_in_torch7(package: str, row: tm.LuaTable) -> None:
    assert differences(row.get("result"), made(package, row["text"]), zeros_are_any=True) == []


@pytest.mark.parametrize("name", ["SpatialSubtractiveNormalization", "SpatialDivisiveNormalization"])
def test_memory_that_nothing_wrote_is_none(name: str) -> None:
    # Torch7 leaves what the memory held, until its first run: no network depends on it
    text = f"nn.{name}(2, torch.ones(3)).coef"
    made_twice = []
    for run in (0, 1):
        lua = runtime(run=run)
        lua.guarded(lua.host.require, "nn")
        made_twice.append(Results(lua).value(lua.text(f"return {text}", "row")).numpy().tolist())
    assert made_twice == [[[[0]]]] * 2


def test_the_text_of_a_container() -> None:
    lua = runtime()
    lua.guarded(lua.host.require, "nn")
    text = "local c = torch.class('nn.RD', 'nn.Container') function c:__init() self.modules = {nn.Tanh()} end "
    text += "return tostring(nn.RD()), tostring(nn.Sequential()):sub(1, 13), tostring(nn.Concat(1)):sub(1, 11)"
    assert evaluated(lua, text) == ["nn.RD", "nn.Sequential", "nn.Concat {"]


def test_a_difference_is_seen() -> None:
    linear = made("nn", "nn.Linear(3, 2)")
    assert differences(linear, made("nn", "nn.Linear(3, 2):reset(9)")) != []
    assert differences(linear, made("nn", "nn.Linear(2, 3)")) != []
    assert differences(linear, made("nn", "nn.Linear(3, 2, false)")) != []
    assert differences(made("nn", "nn.ReLU()"), made("nn", "nn.ReLU(true)")) == [".inplace: True is not False"]
    shared, apart = "local a = {} return {a, a}", "return {{}, {}}"
    both = [made("nn", f"(function() {text} end)()") for text in (shared, apart)]
    assert differences(*both) == [".2.0: it is shared with another"] or differences(*both) == [
        ".1.0: it is shared with another"
    ]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "cudnn.SpatialMaxPooling(3, 2)",
            {"kW": 3, "kH": 2, "dW": 3, "dH": 3, "padW": 0, "padH": 0, "ceil_mode": False},
        ),
        ("cudnn.SpatialAveragePooling(3, 2)", {"dW": 3, "dH": 3}),
        ("cudnn.SpatialAveragePooling(3, 2, 1)", {"dW": 1, "dH": 3}),
        ("cudnn.VolumetricMaxPooling(2, 3, 4)", {"dT": 2, "dW": 3, "dH": 4}),
        ("cudnn.VolumetricAveragePooling(2, 3, 4):ceil()", {"dT": 2, "dW": 3, "dH": 4, "ceil_mode": True}),
        ("cudnn.SpatialCrossMapLRN()", {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1}),
        ("cudnn.SpatialConvolution(4, 6, 3, 3)", {"groups": 1, "dW": 1, "padW": 0}),
        ("cudnn.SpatialConvolution(4, 6, 3, 3, 1, 1, 1, 1, 2)", {"groups": 2, "padH": 1}),
        ("cudnn.ReLU(true)", {"inplace": True}),
        ("cudnn.ClippedReLU(6)", {"inplace": False, "ceiling": 6}),
        ("cudnn.LogSoftMax()", {"algorithm": "CUDNN_SOFTMAX_ACCURATE"}),
        ("cudnn.SpatialBatchNormalization(3, 1e-3)", {"eps": 1e-3, "momentum": 0.1, "affine": True}),
        ("cudnn.convert(nn.Sequential():add(nn.ReLU()), cudnn):get(1)", {"inplace": False, "threshold": 0, "val": 0}),
    ],
)
def test_cudnn_has_its_own_defaults(text: str, fields: dict[str, Any]) -> None:
    got = made("cudnn", text)
    assert got.typename == "cudnn." + ("ReLU" if "convert" in text else text.partition("(")[0].removeprefix("cudnn."))
    assert {name: got.get(name) for name in fields} == fields


@pytest.mark.parametrize("name", ["RNN", "RNNReLU", "RNNTanh", "LSTM", "GRU", "BLSTM", "BGRU"])
def test_recurrent_layers_of_cudnn(name: str) -> None:
    for case in tm.load(FIXTURES / "layers" / f"cudnn.{name}.t7").list():
        wanted = case["module"]
        sizes = ", ".join(f"{wanted[field]:g}" for field in ("inputSize", "hiddenSize", "numLayers"))
        rest = ", ".join(str(wanted[field]).lower() for field in ("batchFirst", "dropout", "rememberStates"))
        got = made("cudnn", f"cudnn.{name}({sizes}, {rest}):double()")
        ignored = {"train", "output", "gradInput", "weight", "gradWeight", "_type", "hiddenInput", "cellInput"}
        assert differences(wanted, got, ignored=ignored) == []
        assert got["weight"].size == wanted["weight"].size


def test_the_weight_of_groups_is_as_cudnn_lays_it_out() -> None:
    assert made("cudnn", "cudnn.SpatialConvolution(4, 6, 3, 2, 1, 1, 1, 1, 2).weight:size()").data.tolist() == [
        6,
        2,
        2,
        3,
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cudnn.SpatialBatchNormalization(3, nil, nil, false)", "only affine supported"),
        ("cudnn.SpatialConvolution(4, 6, 3, 3, 1, 1, 1, 1, 3)", "nInputPlane should be divisible by nGroups"),
        (
            "(function() local i = nn.Identity()() return cudnn.convert(nn.gModule({i}, {nn.Tanh()(i)}), cudnn) end)()",
            "does not work with nngraph",
        ),
        ("nn.Linear(3, 2):forward(torch.zeros(3))", "no layer is run while a model is built"),
        ("nn.BatchNormalization(0)", "To set affine=false"),
        ("nn.Threshold(0, 1e-6, true)", "in-place processing requires value"),
        ("nn.Sequential():remove(1)", "index out of range"),
        ("nn.Linear()", "number expected, got nil"),
        ("nn.gModule({nn.Identity()}, {nn.Identity()()})", "Did you forget a second set of parens"),
        ("nn.Identity()({})", "cannot pass an empty table"),
        ("nn.Linear(3, 2):updateGradInput(torch.zeros(3))", "nn.Linear:updateGradInput is not there for a definition"),
        (
            "torch.zeros(3):add(nn.Linear(3, 2):backward(torch.zeros(3)))",
            "a value .* that is absent was given to torch",
        ),
        (
            "(function() local l = nn.Linear(2, 3) nn.Concat(1):add(l):add(l:clone('weight')):getParameters() end)()",
            "check that you are sharing parameters and gradParameters",
        ),
    ],
)
def test_it_is_refused(text: str, words: str) -> None:
    with pytest.raises(LuaStopped, match=words):
        made("cudnn", text)
