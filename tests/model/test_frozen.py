"""Layers that a file freezes with a Lua function in place of a backward method."""

from __future__ import annotations

import json
from pathlib import Path

import lua
import pytest
import torch
from golden import FIXTURES

import torchmigrate as tm

FOLDER = FIXTURES / "frozen"

#: What Torch7 gathers no gradient for; what the notes say.
ROWS = {
    "u_lua_frozen": (["0.weight", "0.bias"], "accGradParameters by a Lua function"),
    # backward of a Sequential asks its children, so one in which accGradParameters is replaced is trained
    "frozen_layer": (["0.weight", "0.bias"], "its parameters are frozen"),
    "frozen_tied": ([], "belong to a layer that trains too"),
    "cut_gradient": ([], "updateGradInput by a Lua function"),
}


def frozen(module: torch.nn.Module) -> list[str]:
    return [name for name, parameter in module.named_parameters() if not parameter.requires_grad]


@pytest.mark.parametrize("name", ROWS)
def test_forward_is_torch7s_and_frozen_is_what_torch7_freezes(name: str, tmp_path: Path) -> None:
    names, said = ROWS[name]
    conversion = tm.convert(FOLDER / f"{name}.t7")
    assert frozen(conversion.module) == names
    assert any(said in note for _, note in conversion.notes)
    assert conversion.unread == {}
    report = tm.verify(conversion, reference=FOLDER / f"{name}.reference.t7", batches=())
    assert report, report.summary()
    conversion.save(tmp_path / "out")
    assert frozen(tm.load_converted(tmp_path / "out")) == names
    assert conversion.source().count("requires_grad_(False)") == len(names)


def test_gradients_are_torch7s() -> None:
    conversion = tm.convert(FOLDER / "frozen_layer.t7")
    report = tm.verify(conversion, reference=FOLDER / "frozen_layer.reference.t7", gradients=True, batches=())
    assert report, report.summary()
    expected = {
        entry["path"]: entry for entry in tm.to_torch(tm.load(FOLDER / "frozen_layer.reference.t7")["gradParameters"])
    }
    assert not expected["1"]["weight"].any()
    assert expected["3.1"]["weight"].any()
    x = tm.to_torch(tm.load(FOLDER / "frozen_layer.reference.t7")["input"])
    conversion.module(x).sum().backward()
    given = {name: parameter.grad is not None for name, parameter in conversion.module.named_parameters()}
    assert given == {name: not name.startswith("0.") for name in given}


@pytest.mark.parametrize("names", [5, [1], ["__class__"], ["0"], ["0.weight", "none.weight"], {"0.weight": 1}])
def test_names_of_frozen_parameters_are_checked(names: object, tmp_path: Path) -> None:
    tm.convert(FOLDER / "u_lua_frozen.t7").save(tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    config["frozen"] = names
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    with pytest.raises(tm.UsageError, match="frozen"):
        tm.load_converted(tmp_path / "out")


@pytest.mark.parametrize("method", ["updateOutput", "forward", "__call__"])
def test_what_changes_the_output_is_refused(method: str) -> None:
    layer = lua.linear(2, 2)
    layer.fields[method] = tm.LuaFunction(b"\x1bLJ")
    with pytest.raises(tm.UnsupportedLayers, match=f"replaces its {method} by a Lua function"):
        tm.convert(lua.sequential(layer))
    with pytest.raises(tm.UnsupportedLayers, match="updateOutput"):
        tm.convert(FOLDER / "u_lua_override.t7")


def test_a_container_without_backward_freezes_all_in_it() -> None:
    inner = lua.sequential(lua.linear(3, 3), lua.sequential(lua.linear(3, 2)))
    inner.fields["backward"] = tm.LuaFunction(b"\x1bLJ")
    conversion = tm.convert(lua.sequential(lua.linear(2, 3), inner))
    assert frozen(conversion.module) == ["1.0.weight", "1.0.bias", "1.1.0.weight", "1.1.0.bias"]
