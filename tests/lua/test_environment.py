"""What definitions use around their layers: options of scripts, and classes of plain tables, as in Torch7."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("lupa")

from golden import FIXTURES
from lua_objects import differences
from lua_runtimes import evaluated, runtime

import torchmigrate as tm
from torchmigrate.lua.loading import loaded
from torchmigrate.lua.runtime import LuaStopped, Runtime

_OPTIONS = (
    "local c = torch.CmdLine() c:option('-n', 3, 'x') c:option('--rate', 0.5) c:option('-flag', true) "
    "c:option('-name', 'a', 'x', 'string') c:argument('-file', 'x', 'string') "
)


# what th printed for the same chunks
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("local o = c:parse{'f', '-n', '0x10'} return o.n, o.rate, o.flag, o.name, o.file", [16, 0.5, True, "a", "f"]),
        ("local o = c:parse{'-name', '-n', '--rate', '1e-3', 'f', '-flag'} return o.name, o.rate, o.flag, o.n",
         ["-n", 1e-3, False, 3]),
        ("local o = c:default() return o.n, o.file", [3, None]),
    ],
)  # fmt: skip
def test_options_of_a_script(text: str, wanted: list[Any]) -> None:
    assert evaluated(runtime(), _OPTIONS + text) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c:parse{'f', '--n', '4'}", "invalid argument: --n"),
        ("c:parse{'f', '-n'}", "missing argument for option -n"),
        ("c:parse{'f', '-n', 'many'}", r"invalid type for option -n \(should be number\)"),
        ("c:parse{}", "not enough arguments"),
        ("c:option('-k')", "option -k has no default value"),
        ("c:option('-k', 3, 'x', 'string')", "option -k has wrong default type value"),
    ],
)
def test_options_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(LuaStopped, match=message):
        evaluated(runtime(), _OPTIONS + text)


def test_classic() -> None:
    text = (
        "local Object = require 'classic' local A = Object:extend() function A:new(n) self.n = n end "
        "function A:twice() return 2 * self.n end local B = A:extend() "
        "function B:new(n) B.super.new(self, n + 1) end local b = B(4) "
        "return b:twice(), b:is(A), b:is(Object), A(1):is(B), tostring(b)"
    )
    assert evaluated(runtime(), text) == [10, True, True, False, "Object"]


def reading(folder: Any) -> Runtime:
    lua = runtime(folder)
    lua.loaded = loaded
    for name in ("nn", "rnn"):
        lua.guarded(lua.host.require, name)
    return lua


def test_torch_load() -> None:
    lua = reading(FIXTURES / "lua" / "plan")
    got = evaluated(lua, "return torch.load('params.t7').params, torch.load('./params.t7', 'binary').params:type()")
    wanted = tm.load(FIXTURES / "lua" / "plan" / "params.t7")["params"]
    assert got[0].numpy().tolist() == wanted.numpy().tolist()
    assert got[1] == wanted.type


def test_torch_load_keeps_objects_and_what_they_share() -> None:
    lua = reading(FIXTURES / "lua" / "plan")
    text = "local m = torch.load('plan.t7') return m, torch.isTypeOf(m, 'nn.Module'), #m:parameters()"
    model, is_module, count = evaluated(lua, text)
    assert differences(tm.load(FIXTURES / "lua" / "plan" / "plan.t7"), model, ignored=()) == []
    assert (is_module, count) == (True, 16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("torch.load('../plan/params.t7')", "no file ../plan/params.t7 below the folder"),
        ("torch.load('/etc/passwd')", "no file /etc/passwd below the folder"),
        ("torch.load('broken.t7')", "torch.load: broken.t7: "),
        ("torch.load('foreign.t7')", "unknown Torch class <own.Thing>"),
        ("torch.load(3)", "string expected, got number"),
    ],
)
def test_torch_load_refuses(text: str, message: str, tmp_path: Any) -> None:
    (tmp_path / "broken.t7").write_bytes(b"\x03\0\0\0\x01")
    tm.dump(tm.LuaObject("own.Thing", tm.LuaTable()), tmp_path / "foreign.t7")
    with pytest.raises(LuaStopped, match=message):
        evaluated(reading(tmp_path), text)


def test_torch_load_in_a_process_of_its_own(tmp_path: Any) -> None:
    source = FIXTURES / "lua" / "plan" / "params.t7"
    (tmp_path / "numbers.t7").write_bytes(source.read_bytes())
    (tmp_path / "model.lua").write_text(
        "local m = nn.Linear(3, 2)\nm.bias:copy(torch.load('numbers.t7').params:narrow(1, 1, 2))\nreturn m\n"
    )
    model = tm.lua.define("model.lua", folder=tmp_path)
    wanted = tm.load(source)["params"].numpy()[:2].astype("float32")
    assert model["bias"].numpy().tolist() == wanted.tolist()
