"""Layers that only their author's Lua defines become PyTorch, and give what Torch7 gave; or they are refused."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from golden import FIXTURES
from lua_layers import FOLDER, LAYERS, assert_close, flat, lua_file, recorded

import torchmigrate as tm
from torchmigrate.model.convert import convert_model

pytest.importorskip("lupa")

from torchmigrate.lua.folders import Folders
from torchmigrate.lua.layers import provider
from torchmigrate.lua.layers.session import Session
from torchmigrate.lua.layers.sources.lockstep import Unexplained
from torchmigrate.lua.layers.sources.source import written
from torchmigrate.lua.layers.traces.tracing import CantTrace, Tracer
from torchmigrate.lua.limits import LuaLimits

#: What must be refused, and why.
REFUSED = {
    "nn.RangeGuard": "RangeGuard.lua:12: what it does depends on the numbers",
}
FAST = ("nn.GatherRows", "nn.RangeGuard", "nn.CosineLinear")
ROWS = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in LAYERS]


pytestmark = pytest.mark.usefixtures("in_this_process")


@cache
def converted(name: str) -> Any:
    return convert_model(recorded(name)["module"], provided=provider.converters([lua_file(name)]))


@pytest.mark.parametrize("name", ROWS)
def test_it_gives_what_torch7_gave_or_is_refused(name: str) -> None:
    if name in REFUSED:
        with pytest.raises(tm.UnsupportedLayers, match=REFUSED[name]):
            converted(name)
        return
    value, conv = recorded(name), converted(name)
    for run in (value, value["second"]):
        inputs = [x.requires_grad_(x.is_floating_point()) for x in flat(tm.to_torch(run["input"]))]
        output = conv.module(inputs if isinstance(run["input"], tm.LuaTable) else inputs[0])
        assert_close(output, tm.to_torch(run["output"]))
        conv.module.zero_grad()
        torch.autograd.backward(output, tm.to_torch(run["gradOutput"]))
        found = [torch.zeros_like(x) if x.grad is None else x.grad for x in inputs]
        assert_close(found, tm.to_torch(run["gradInput"]))
        if run.get("gradParameters") is not None:
            wanted = [grad.flatten().sort().values for grad in tm.to_torch(run["gradParameters"])]
            grads = [p.grad.flatten().sort().values for p in conv.module.parameters() if p.grad is not None]
            assert_close(grads, wanted)
    assert conv.unread == {}
    assert "compared with it on" in conv.notes[0][1]


def test_the_class_reads_as_what_the_lua_does() -> None:
    from torchmigrate.lua.layers.classes import texts_of

    (text,) = texts_of(converted("nn.CosineLinear").module).values()
    assert '"""nn.CosineLinear, written from its Lua (CosineLinear.lua)."""' in text
    assert "if x.dim() == 2 and x.shape[1] == 5:" in text
    assert "return x @ y.t() + torch.outer(x.new_full((x.shape[0],), 1), self.bias)" in text
    module = converted("nn.CosineLinear").module
    with pytest.raises(ValueError, match=r"nn\.CosineLinear is known for inputs of the sizes \(n0, 5\) or \(5,\)"):
        module(torch.ones(2, 6))


def traced(tmp_path: Path, body: str, runs: int = 2, file: str = "", **fields: Any) -> Any:
    text = f"{file}\nlocal L = torch.class('my.L', 'nn.Module') function L:updateOutput(x) {body} end"
    (tmp_path / "layer.lua").write_text(text)
    layer = tm.LuaObject("my.L", tm.LuaTable(list(fields.items())))
    session = Session([str(tmp_path / "layer.lua")], Folders([str(tmp_path)], 1 << 20), LuaLimits())
    given = [torch.randn(3, 4, generator=torch.Generator().manual_seed(n)) for n in range(runs)]
    return Tracer(session, layer).trace(given), given


@pytest.mark.parametrize(
    "body",
    [
        "if x:max() > 1 then return x:clone() end return x:clone():zero()",
        "return x:clone():apply(function(v) return v > 0 and v or 0 end)",
        "if x[1][1] == 3 then return x:clone() end return torch.add(x, 1)",
        "local t = x:totable() return torch.Tensor(t)",
        "if x:storage()[1] > 0 then return x:clone() end return torch.add(x, 1)",
        "return x[torch.gt(x, 0)]",
        "pcall(function() return x:sum() > 0 end) return x:clone()",
        "if torch.gt(x, 0):any() then return x:clone() end return torch.add(x, 1)",
    ],
)
def test_what_depends_on_numbers_is_not_recorded(tmp_path: Path, body: str) -> None:
    with pytest.raises(CantTrace, match="depends on the numbers of its input"):
        traced(tmp_path, body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return x:clone():uniform()", "random"),
        ("return torch.add(x, torch.rand(1):sum())", "random"),
        ("return x:clone():mul(math.random())", "random"),
        ("pcall(function() x:clone():normal() end) return x:clone()", "random"),
    ],
)
def test_what_is_drawn_is_not_recorded(tmp_path: Path, body: str, reason: str) -> None:
    with pytest.raises(CantTrace, match=reason):
        traced(tmp_path, body)


def explored(tmp_path: Path, text: str, fields: dict[str, Any]) -> Any:
    (tmp_path / "layer.lua").write_text(f"local L = torch.class('my.L', 'nn.Module')\n{text}")
    layer = tm.LuaObject("my.L", tm.LuaTable(list(fields.items())))
    return convert_model(layer, provided=provider.converters([tmp_path / "layer.lua"]))


BACKWARD = "function L:updateGradInput(x, g) self.gradInput = {g} return self.gradInput[1] end"
#: The sizes of a last run, so that no others are looked for.
RUN = {"gradInput": tm.Tensor.from_numpy(torch.ones(3, 4).numpy())}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "function L:updateOutput(x) self.seen = (self.seen or 0) + 1 return torch.mul(x, self.seen) end",
            "it keeps state",
        ),
        (
            (
                "function L:updateOutput(x) local last = self.last or x self.last = x:clone() "
                "return last:isSameSizeAs(x) and torch.add(x, last) or x:clone() end"
            ),
            "it keeps state",
        ),
        ("function L:updateOutput(x) return x.new(x:size(1), 2) end", "memory that nothing was written to"),
        (
            (
                "function L:updateOutput(x) local y = x.new(x:size(1), 6) "
                "for i = 1, math.min(x:size(2), 5) do y:select(2, i):copy(x:select(2, i)) end return y end"
            ),
            "memory that nothing was written to",
        ),
        (
            "function L:updateOutput(x) local y = x:clone() for i = 2, x:size(1) do y[i]:add(y[1]) end return y end",
            "a loop, or a branch, over a size",
        ),
        (
            "function L:updateOutput(x) return torch.mul(x, x:size(1) % 3 == 0 and 2 or 3) end",
            "a number changes with the sizes of its input in an unknown way",
        ),
        (
            "function L:updateOutput(x) return torch.mul(x, math.min(x:size(2), 90)) end",
            "what was written differs from it",
        ),
        (
            "function L:updateOutput(x) return torch.mul(x, math.min(x:size(2), self.most)) end",
            "what was written differs from it",
        ),
        (
            (
                "function L:updateOutput(x) return torch.mul(x, 2) end "
                "function L:updateGradInput(x, g) self.gradInput = g:norm() > 1 and g or x "
                "return self.gradInput end"
            ),
            "its backward pass is not the derivative .* it is not recorded: .*depends on the numbers",
        ),
    ],
)
def test_what_one_class_can_not_say_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(tm.UnsupportedLayers, match=reason):
        explored(tmp_path, text, {**RUN, "most": 50.0})


def test_parentheses_are_set_where_they_must(tmp_path: Path) -> None:
    text = (
        "function L:updateOutput(x) local a = torch.mm(torch.cmul(x, x), self.weight:t()) "
        "local b = torch.gt(torch.add(x, -0.5), 0.25):typeAs(x) "
        "local c = torch.add(a, -1, torch.mm(b, self.weight:t())) "
        "return torch.cdiv(c, torch.add(torch.pow(a, 2), 1)):mul(-1):abs() end"
    )
    weight = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    conv = explored(tmp_path, text, {"weight": tm.Tensor.from_numpy(weight.numpy()), **RUN})
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    a, b = (x * x) @ weight.t(), (x - 0.5 > 0.25).float()
    assert torch.allclose(conv.module(x), ((a - b @ weight.t()) / (a**2 + 1)).abs(), atol=1e-6)
    assert any("has no backward pass" in note for _, note in conv.notes)


def test_another_class_than_the_lua_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = provider.class_of

    def wrong(name: str, text: str) -> Any:
        return real(name, text.replace("* 2.5", "* 2.6"))

    monkeypatch.setattr(provider, "class_of", wrong)
    text = "function L:updateOutput(x) return torch.mul(x, 2.5) end"
    with pytest.raises(tm.UnsupportedLayers, match="what was written differs from it"):
        explored(tmp_path, text, {**RUN, "most": 50.0})


@pytest.mark.parametrize(
    "node",
    [
        {"op": "__import__('os').abort", "args": [{"node": 0}]},
        {"op": "sum", "args": [{"node": 0}], "kwargs": {"dim=__import__('os').abort(), keepdim": True}},
        {"op": "zeros", "args": [3], "dtype": "float32.__class__"},
        {"op": "add", "args": [{"node": 0}, "__import__('os').abort()"]},
        {"op": "to", "args": [{"node": 0}, "float().__class__"]},
        {"op": "input", "args": ["__import__('os')", 0]},
    ],
)
def test_nothing_of_a_graph_is_taken_as_python(node: dict[str, Any]) -> None:
    source = {"op": "input", "args": [0, 0], "kwargs": {}, "shape": [3], "dtype": "float32"}
    last = {"kwargs": {}, "shape": [3], "dtype": "float32", **node}
    run = {"nodes": [source, last], "outputs": {"node": 1}}
    graph = {"runs": [run], "sizes": [[3]], "writes": False, "passes": False, "same": False}
    pattern = {"nested": False, "sizes": [[3]], "holds": ["normal"]}
    said = {"patterns": [{"pattern": pattern, "graphs": [graph], "training": [graph]}]}
    with pytest.raises((Unexplained, TypeError)):
        written(said, "my.L", "layer.lua", [], "float32")


def test_a_layer_in_place_is_in_place_where_others_read_it(tmp_path: Path) -> None:
    text = (
        "function L:updateOutput(x) self.output = x:mul(3) return self.output end "
        "function L:updateGradInput(x, g) self.gradInput = g:mul(3) return self.gradInput end"
    )
    conv = explored(tmp_path, text, {**RUN, "most": 50.0})
    assert not conv.module.inplace
    x = torch.ones(2, 3)
    assert conv.module(x).tolist() == [[3.0] * 3] * 2
    assert x.tolist() == [[1.0] * 3] * 2
    own, keeps = tm.LuaObject("my.L", tm.LuaTable(list(RUN.items()))), tm.LuaObject("nn.Identity")
    modules = tm.LuaTable([("modules", tm.LuaTable.from_list([keeps, own]))])
    model = tm.LuaObject("nn.ConcatTable", modules)
    both = convert_model(model, provided=provider.converters([tmp_path / "layer.lua"]))
    assert [y.tolist() for y in both.module(torch.ones(2, 3))] == [[[3.0] * 3] * 2] * 2


MORE = FIXTURES / "lua" / "more_layers"
MORE_REFUSED = {
    "Counter": "it keeps state",
    "CumMax": "a loop, or a branch, over a size",
}


@pytest.mark.slow
@pytest.mark.parametrize("place", range(17))
def test_small_layers_in_many_idioms(place: int) -> None:
    value = tm.load(MORE / "layers.t7")
    assert isinstance(value, tm.LuaTable)
    row = value.list()[place]
    assert isinstance(row, tm.LuaTable)
    provided = provider.converters([MORE / "layers.lua"])
    if row["name"] in MORE_REFUSED:
        with pytest.raises(tm.UnsupportedLayers, match=MORE_REFUSED[row["name"]]):
            convert_model(row["module"], provided=provided)
        return
    conv = convert_model(row["module"], provided=provided)
    for run in (row, row["second"]):
        assert_close(conv.module(tm.to_torch(run["input"])), tm.to_torch(run["output"]))


def test_the_refusal_names_the_option() -> None:
    with pytest.raises(
        tm.UnsupportedLayers, match=r"Give the author's Lua file that defines the class with --lua file\.lua"
    ):
        tm.convert(recorded("KMaxPool")["module"])


@pytest.mark.slow
def test_a_network_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmigrate.cli.main import cli

    monkeypatch.undo()
    names = ("SoftRamp", "CosineLinear", "ShuffledGroups", "SpatialCropPad")
    lua = [part for name in names for part in ("--lua", str(FOLDER / f"{name}.lua"))]
    out = tmp_path / "network"
    given = ["convert", str(FOLDER / "network.t7"), *lua, "-o", str(out), "--input-shape", "2x4x5x6", "--json"]
    result = CliRunner().invoke(cli, given)
    assert result.exit_code == 0, result.output
    notes = [text for _, text in json.loads(result.stdout)["notes"]]
    assert any(note.startswith("converted from its Lua (SoftRamp.lua): compared with it on") for note in notes)
    value = tm.load(FOLDER / "network.t7")
    x, wanted = tm.to_torch(value["input"]), tm.to_torch(value["output"])
    module = tm.load_converted(out, plugins=[out / "lua_layers.py"])
    assert_close(module(x), wanted)
    space: dict[str, Any] = {}
    exec((out / "model.py").read_text(), space)
    assert_close(space["Model"].from_pretrained(str(out))(x), wanted)
    assert (out / "model.onnx").exists()
    again = CliRunner().invoke(
        cli, ["verify", str(out), "--plugin", str(out / "lua_layers.py"), "--input-shape", "2x4x5x6"]
    )
    assert again.exit_code == 0, again.output
    refused = CliRunner().invoke(cli, ["convert", str(FOLDER / "network.t7"), "-o", str(tmp_path / "other")])
    assert isinstance(refused.exception, tm.UnsupportedLayers)
    assert "--lua file.lua" in str(refused.exception)
