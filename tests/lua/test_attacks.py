"""What the sandbox holds, it holds as well where Torch7's own Lua runs, and a layer that stays in Lua."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lupa")

import torch
from attacks import FAULTS, NOT_THERE, REFUSED, SEARCH
from lua_runtimes import evaluated

import torchmigrate as tm
from torchmigrate.lua.folders import Folders
from torchmigrate.lua.layers.kept.serving import KeptLayer
from torchmigrate.lua.limits import LuaLimits
from torchmigrate.lua.runtime import LuaStopped, Runtime
from torchmigrate.lua.witness.answer import start

LIMITS = LuaLimits(lua_bytes=32 << 20, elements=1 << 24, cpu_seconds=20)

#: Torch7's own Lua finds an empty one, of which nothing can be called.
STAND_IN = "package.loaded.ffi"


def torch7(folder: Path) -> Runtime:
    """A Lua in which Torch7's own runs, from a checkout."""
    (folder / "nn").mkdir()
    (folder / "nn" / "init.lua").write_text("nn = {}")
    lua = start(Folders([], LIMITS.file_bytes, str(folder)), LIMITS)
    lua.guarded(lua.host.require, "nn")
    return lua


def layer(folder: Path, text: str) -> Any:
    """What a layer that stays in Lua gives that does something in its updateOutput: a number, as a tensor."""
    file = folder / "layer.lua"
    file.write_text(f"""
        local L = torch.class('my.Layer', 'nn.Module')
        local function attack()
           {text}
        end
        function L:updateOutput(x)
           return torch.FloatTensor{{attack() and 1 or 0}}
        end
    """)
    stream = io.BytesIO()
    tm.dump(tm.LuaTable([("layer", tm.LuaObject("my.Layer", tm.LuaTable()))]), stream)
    kept = KeptLayer({"files": [str(file)]}, Folders([str(folder)], LIMITS.file_bytes), LIMITS, stream.getvalue())
    numbers = io.BytesIO()
    tm.dump(tm.LuaTable([("input", tm.Tensor.from_numpy(torch.ones(2).numpy()))]), numbers)
    request = {"what": "forward", "object": 1, "kind": "Float", "training": False}
    return tm.to_torch(kept.answer(request, numbers.getvalue())[1]["output"]).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("text", REFUSED)
def test_it_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(LuaStopped):
        evaluated(torch7(tmp_path), text)
    with pytest.raises(LuaStopped):
        layer(tmp_path, text)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOT_THERE)
def test_it_is_not_there(name: str, tmp_path: Path) -> None:
    assert layer(tmp_path, f"return {name} == nil") == [1.0]
    if name != STAND_IN:
        assert evaluated(torch7(tmp_path), f"return {name} == nil") == [True]


def test_no_c_is_called(tmp_path: Path) -> None:
    lua = torch7(tmp_path)
    assert evaluated(lua, "return require('ffi').C == nil, require('ffi').cdef('int getpid();') == nil") == [True, True]
    for call in ("load('libc.so.6')", "new('int[4]')", "C.getpid()", "cast('int*', 0)"):
        with pytest.raises(LuaStopped):
            evaluated(lua, f"return require('ffi').{call}")


@pytest.mark.slow
@pytest.mark.parametrize("text", FAULTS)
def test_errors_of_python_are_text(text: str, tmp_path: Path) -> None:
    assert evaluated(torch7(tmp_path), text) == ["string"]
    assert layer(tmp_path, f"local function f() {text} end return f() == 'string'") == [1.0]


@pytest.mark.slow
def test_what_stands_behind_a_tensor_is_not_seen(tmp_path: Path) -> None:
    assert evaluated(torch7(tmp_path), SEARCH) == [""]
    assert layer(tmp_path, f"local function f() {SEARCH} end return f() == ''") == [1.0]
