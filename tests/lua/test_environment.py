"""What definitions use around their layers: options of scripts, and classes of plain tables, as in Torch7."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lupa")

from golden import FIXTURES
from lua_objects import differences
from lua_runtimes import evaluated, runtime

import torchmigrate as tm
from torchmigrate.lua.loading import loaded
from torchmigrate.lua.result import CantLeave
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


CLASS = """
local class = require 'class'
local A = class('A') function A:__init(n) self.n = n end function A:twice() return 2 * self.n end
local B = class('B', 'A') function B:thrice() return 3 * self.n end
local C = class.new('C', 'B') function C:__init(n) A.__init(self, n + 1) end
local b, c = B(4), C.new(4)
"""


def test_class() -> None:
    text = "return b:twice(), c:twice(), c:thrice(), class.type(c), class.istype(c, 'A'), class.istype(b, 'C')"
    assert evaluated(runtime(), CLASS + text) == [8, 10, 15, "C", True, False]
    for fault, words in (("class('A')", "class <A> already exists"), ("class('D', 'E')", "<E> does not exist")):
        with pytest.raises(LuaStopped, match=words):
            evaluated(runtime(), CLASS + fault)


def test_a_file_of_the_author_named_class(tmp_path: Path) -> None:
    (tmp_path / "class.lua").write_text("return 'mine'")
    assert evaluated(runtime(tmp_path), "return require 'class'") == ["mine"]


@pytest.mark.parametrize(
    ("init", "rockspec"),
    [
        ("mylib = {} require 'mylib.parts'", None),
        ("mylib = mylib or {} require 'mylib.parts'", None),
        ("torch.include('mylib', 'parts.lua')", None),
        ("mylib = require('parts')", "mylib-scm-1.rockspec"),
    ],
)
def test_a_repository_that_is_a_package(init: str, rockspec: str | None, tmp_path: Path) -> None:
    (tmp_path / "init.lua").write_text(f"require 'nn'\n{init} mylib.width = 4")
    (tmp_path / "parts.lua").write_text("mylib = mylib or {} mylib.depth = 2 return mylib")
    if rockspec:
        (tmp_path / "rocks").mkdir()
        (tmp_path / "rocks" / rockspec).write_text("")
    assert evaluated(runtime(tmp_path), "require 'mylib' return mylib.width, mylib.depth") == [4, 2]
    with pytest.raises(LuaStopped, match="module 'other' not found"):
        evaluated(runtime(tmp_path), "require 'other'")


def test_a_repository_that_is_another_package(tmp_path: Path) -> None:
    (tmp_path / "init.lua").write_text("other = require 'mylib' local parts = require 'mylib.parts'")
    (tmp_path / "parts.lua").write_text("return 1")
    for text in ("require 'mylib'", "require 'mylib.parts'"):
        with pytest.raises(LuaStopped, match="not found"):
            evaluated(runtime(tmp_path), text)


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


@pytest.mark.parametrize("name", ["../plan/params.t7", "/etc/passwd", "none.t7"])
def test_a_file_that_is_not_below_the_folder_is_not_known(name: str, tmp_path: Any) -> None:
    with pytest.raises(CantLeave, match=f"from data that are not: the file {name}"):
        evaluated(reading(tmp_path), f"return torch.load('{name}').size")
    with pytest.raises(LuaStopped, match=f"only data tell the file {name}, which nn.Linear is given"):
        evaluated(reading(tmp_path), f"return nn.Linear(3, torch.load('{name}'))")


@pytest.mark.parametrize("run", [0, 1])
def test_what_a_file_is_read_into_differs_from_run_to_run(run: int) -> None:
    text = "local s = torch.zeros(2) torch.DiskFile('x'):readDouble(s:storage()) return s[1], s[2]"
    assert evaluated(runtime(run=run), text) == [run + 1, run + 1]


def test_kernels_of_image() -> None:
    seven, one = evaluated(
        runtime(),
        "require 'image' return image.gaussian1D(7), image.gaussian1D{size = 3, amplitude = 2, normalize = true}",
    )
    bell = [math.exp(-(((i - 4) / 1.75) ** 2) / 2) for i in range(1, 8)]  # the formula of torch/image
    assert seven.numpy().tolist() == pytest.approx(bell, rel=1e-15)
    assert one.numpy().sum() == pytest.approx(1, rel=1e-15)


def test_torch_load_in_a_process_of_its_own(tmp_path: Any) -> None:
    source = FIXTURES / "lua" / "plan" / "params.t7"
    (tmp_path / "numbers.t7").write_bytes(source.read_bytes())
    (tmp_path / "model.lua").write_text(
        "local m = nn.Linear(3, 2)\nm.bias:copy(torch.load('numbers.t7').params:narrow(1, 1, 2))\nreturn m\n"
    )
    model = tm.lua.define("model.lua", folder=tmp_path)
    wanted = tm.load(source)["params"].numpy()[:2].astype("float32")
    assert model["bias"].numpy().tolist() == wanted.tolist()


_LAPP = """
   -s,--save          (default "logs")      subdirectory
   -b,--batchSize     (default 128)         batch size
   --learningRateDecay (default 1e-7)       decay
   --noplot do not plot (anything)
   --max-epoch (default 300) maximum
   --model (string) name
   --ok (default true) x
   --nok (default false) x
   --opt (optional string) x
   -v verbose
   <file> (default a) x
"""
_LAPP_DEFAULTS = {
    "save": "logs", "batchSize": 128, "learningRateDecay": 1e-7, "noplot": False, "max_epoch": 300, "model": "vgg",
    "ok": True, "nok": "false", "v": False, "file": "a",
}  # fmt: skip


# what Penlight 1.13 gave
@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["--model", "vgg"], {}),
        (
            ["--model=vgg", "-b", "64", "--noplot", "-s", "x", "--max-epoch", "3", "--ok", "-v", "in"],
            {"batchSize": 64, "noplot": True, "save": "x", "max_epoch": 3, "ok": False, "v": True, "file": "in"},
        ),
        (["--model", "3", "--nok", "true", "-vb16"], {"model": "3", "nok": "true", "v": True, "batchSize": 16}),
    ],
)
def test_lapp(arguments: list[str], given: dict[str, Any]) -> None:
    lua = runtime()
    lua.host.set_global("arg", lua.value(arguments))
    (got,) = evaluated(lua, f"return require('pl.lapp') [[{_LAPP}]]")
    assert dict(got.items()) == _LAPP_DEFAULTS | given


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing required parameter: model"),
        (["--model", "vgg", "--zz", "3"], "unrecognized parameter: zz"),
        (["--model", "vgg", "-b", "many"], "unable to convert to number: many"),
        (["--model", "vgg", "-b"], "batchSize was expecting a value"),
    ],
)
def test_lapp_refuses(arguments: list[str], message: str) -> None:
    lua = runtime()
    lua.host.set_global("arg", lua.value(arguments))
    with pytest.raises(LuaStopped, match=message):
        evaluated(lua, f"return require 'pl.lapp' [[{_LAPP}]]")


# what th gave for the same chunks
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("return f(1)", [1, "q", None]),
        ("return f{a = 2, b = 'x', c = 4}", [2, "x", 4]),
        ("return f(3, 'y', 5)", [3, "y", 5]),
        ("return f(1, 'x', 3, 4)", [1, "x", 3]),
        ("local _, a, b = xlua.unpack({{3}, 7}, 'f', 'h', {arg = 'a'}, {arg = 'b'}) return a[1], b", [3, 7]),
        ("local _, a = xlua.unpack({{3}}, 'f', 'h', {arg = 'a'}) return a[1]", [3]),
        ("local _, a, b = xlua.unpack({{a = false}}, 'f', 'h', {arg = 'a'}, {arg = 'b', defaulta = 'a'}) return a, b",
         [False, False]),
    ],
)  # fmt: skip
def test_xlua_unpack(text: str, wanted: list[Any]) -> None:
    assert evaluated(runtime(), _UNPACK + text) == wanted


@pytest.mark.parametrize("text", ["f()", "f{b = 'x'}", "f(nil, 'x')", "f{}"])
def test_xlua_unpack_refuses(text: str) -> None:
    with pytest.raises(LuaStopped, match=r"f: (missing argument: a|arguments are missing)"):
        evaluated(runtime(), _UNPACK + text)


_UNPACK = (
    "require 'xlua' local function f(...) local _, a, b, c = xlua.unpack({...}, 'f', 'helps', {arg = 'a', req = true}, "
    "{arg = 'b', default = 'q'}, {arg = 'c'}) return a, b, c end "
)


def test_names_of_files(tmp_path: Any) -> None:
    for name in ("b.lua", "a.lua", ".h"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    text = (
        "require 'paths' local function all(step) local n = {} for f in step do n[#n + 1] = f end return "
        "table.concat(n, ' ') end return all(paths.files('.')), all(paths.files('.', 'lua')), "
        "all(paths.files('.', function(x) return x:find('a') end)), all(paths.iterfiles('.')), "
        "all(paths.iterdirs('.')), paths.dirp('sub'), paths.dirp('a.lua'), paths.dir('no'), paths.dirp('..'), "
        "all(paths.files('..'))"
    )
    first = [". .. .h a.lua b.lua sub", "a.lua b.lua", "a.lua b.lua", ".h a.lua b.lua", "sub"]
    assert evaluated(runtime(tmp_path), text) == [*first, True, False, None, False, ""]
    # no system says in which order: the second run takes the other
    assert evaluated(runtime(tmp_path, run=1), text)[:2] == [". .. b.lua a.lua .h sub", "b.lua a.lua"]


# what th printed
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("c:string('exp', {n = 4, name = 'a', flag = false, file = 'q'}, {})", "exp,file=q,flag=f,n=4"),
        ("c:string('exp', {n = 4, name = 'b/c', rate = 0.7}, {n = true})", "exp,name=b/c"),
        ("c:string('exp', {n = 3, name = 'a', flag = true}, {})", "exp"),
    ],
)
def test_the_name_of_a_run(text: str, wanted: str) -> None:
    assert evaluated(runtime(), _OPTIONS + f"return {text}") == [wanted]


def test_generators_of_their_own() -> None:
    text = (
        "local g = torch.Generator() torch.manualSeed(g, 5) torch.manualSeed(7) local first = torch.uniform() "
        "local x, y, z = torch.uniform(g), torch.random(g), torch.random(g, 1, 6) local n = torch.normal(g, 0, 1) "
        "torch.randn(g, 2) torch.rand(g, 2) local p = torch.randperm(g, 4) torch.manualSeed(7) "
        "return x, y, z, n, p[1], p[4], torch.initialSeed(g), torch.bernoulli(g, 0.5), "
        "torch.Tensor(1):uniform(g, 0, 1)[1], torch.uniform() == first, torch.type(g)"
    )
    wanted = [0.22199317137711, 236996814, 2, 0.33282429211945, 1, 4, 5, 0, 0.3541]
    got = evaluated(runtime(), text)
    assert got[:9] == pytest.approx(wanted, abs=5e-5)
    assert got[9:] == [True, "torch.Generator"]


def test_files_that_ask_for_their_neighbours(tmp_path: Any) -> None:
    for name in ("models", "modules"):
        (tmp_path / name).mkdir()
    (tmp_path / "modules" / "Own.lua").write_text("return 3\n")
    (tmp_path / "models" / "a.lua").write_text("return require '../modules/Own' + require './b.lua'\n")
    (tmp_path / "models" / "b.lua").write_text("return 4\n")
    assert evaluated(runtime(tmp_path), "return dofile 'models/a.lua'") == [7]
    with pytest.raises(LuaStopped, match=r"module './c' not found"):
        evaluated(runtime(tmp_path), "require './c'")


def test_what_is_written_goes_nowhere(tmp_path: Any) -> None:
    lua = runtime(tmp_path)
    text = (
        "torch.save('a.t7', {1}) local f = io.open('log.txt', 'w') f:write('x'):write('y') f:close() "
        "return os.execute('mkdir -p out'), io.open('a.t7') == nil, pcall(os.execute, 'rm -r out')"
    )
    assert evaluated(lua, text)[:3] == [0, True, False]
    assert lua.printed == "torch.save wrote nothing: a.t7\n"
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_is_absent_leaves_its_name() -> None:
    assert evaluated(runtime(), "require 'hdf5' return tostring(hdf5)") == ["<hdf5>"]
