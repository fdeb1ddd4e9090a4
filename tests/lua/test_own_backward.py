"""Layers whose backward pass is, on purpose, not the derivative train as they did in Torch7, or are refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from golden import FIXTURES
from lua_layers import assert_close, flat

import torchmigrate as tm
from torchmigrate.model.convert import convert_model

pytest.importorskip("lupa")

from torchmigrate.lua.layers import provider
from torchmigrate.lua.layers.classes import texts_of

FOLDER = FIXTURES / "lua" / "own_backward"
#: Those that are refused, and why.
REFUSED = {
    "NormClip": "its backward pass is not the derivative of its output.*what it does depends on the numbers",
}
NAMES = ("SignThrough", "SignWeights", "HalfGate", "Probe", "Penalty", "Lookup", "NormClip", "OffsetLinear")
FAST = ("SignWeights",)
ROWS = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


pytestmark = pytest.mark.usefixtures("in_this_process")


@cache
def row(name: str) -> Any:
    value = tm.load(FOLDER / "layers.t7")
    assert isinstance(value, tm.LuaTable)
    return next(one for one in value.list() if one["name"] == name)  # type: ignore[index,call-overload]


@cache
def converted(name: str) -> Any:
    return convert_model(row(name)["module"], provided=provider.converters([FOLDER / "layers.lua"]))


@pytest.mark.parametrize("name", ROWS)
def test_both_passes_are_those_of_torch7(name: str) -> None:
    if name in REFUSED:
        with pytest.raises(tm.UnsupportedLayers, match=REFUSED[name]):
            converted(name)
        return
    conv = converted(name)
    for run in row(name)["runs"].list():
        given, grad = tm.to_torch(run["input"]), tm.to_torch(run["gradOutput"])
        leaves = [x.requires_grad_() for x in flat(given)]
        output = conv.module(leaves if isinstance(given, list) else leaves[0])
        assert_close(output, tm.to_torch(run["output"]))
        conv.module.zero_grad()
        torch.autograd.backward(output, grad)
        wanted = flat(tm.to_torch(run["gradInput"]))
        for leaf, part in zip(leaves, wanted, strict=True):
            assert (leaf.grad is None) == (part.numel() == 0)
        assert_close([leaf.grad for leaf in leaves if leaf.grad is not None], [part for part in wanted if part.numel()])
        parameters = run.get("gradParameters")
        grads = [parameter.grad for parameter in conv.module.parameters()]
        assert_close(grads, tm.to_torch(parameters) if parameters is not None else [])
    own = name != "OffsetLinear"  # whose passes are those of nn.Linear
    assert any("is not the derivative of its output" in note for _, note in conv.notes) is own


def test_the_class_says_that_it_is_not_the_derivative() -> None:
    (text,) = texts_of(converted("SignWeights").module).values()
    assert '"""The passes of own.SignWeights; its backward pass is what its Lua gives, not the derivative."""' in text
    assert "return SignWeightsPasses.apply(x, self.bias, self.weight)" in text or "self.weight, self.bias" in text
    assert ".sign()" in text.partition("def backward")[2]


def test_another_backward_pass_than_the_lua_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = provider.class_of

    def wrong(name: str, text: str) -> Any:
        head, back, rest = text.partition("def backward")
        return real(name, head + back + rest.replace(".sign()", ".sign().abs()", 1))

    monkeypatch.setattr(provider, "class_of", wrong)
    with pytest.raises(tm.UnsupportedLayers, match="its backward pass is not the derivative of its output"):
        convert_model(row("SignWeights")["module"], provided=provider.converters([FOLDER / "layers.lua"]))
