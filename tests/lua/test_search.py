"""How a file gives its network is found out where its own text and its author's scripts say it, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import torchmigrate as tm

pytest.importorskip("lupa")

from torchmigrate.cli.main import cli
from torchmigrate.lua.building import build
from torchmigrate.lua.callers import NoCall
from torchmigrate.lua.folders import Folders
from torchmigrate.lua.limits import LuaLimits
from torchmigrate.lua.runtime import LuaStopped
from torchmigrate.lua.script_text import call_sites, is_set_between, is_whole, names_in, with_marked_tables

OPTIONS = """
local M = {}
function M.parse(arg)
   local cmd = torch.CmdLine()
   cmd:option('-width', 5, 'units')
   cmd:option('-net', 'wide', 'which')
   return cmd:parse(arg)
end
return M
"""
FACTORY = """
local function create(opt)
   return nn.Sequential():add(nn.Linear(3, opt.width)):add(nn.Linear(opt.width, 2))
end
return create
"""


def found(folder: Path, files: dict[str, str], file: str, **job: Any) -> tuple[str, tm.LuaObject]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    limits = LuaLimits(lua_bytes=128 << 20, elements=1 << 24)
    said, made = build({"file": file, "search": True, **job}, Folders([str(folder)], 1 << 20), limits)
    return said["found"], made["model"]


def sizes(model: tm.LuaObject) -> list[tuple[int, ...]]:
    return [layer["weight"].size for layer in model["modules"].list() if layer.get("weight") is not None]


def test_as_the_script_calls_it(tmp_path: Path) -> None:
    main_lua = """local opt = require('opts').parse(arg) local net = require('models.' .. opt.net)(opt)
    net:add(nn.Tanh()) image.load('x')"""
    files = {"opts.lua": OPTIONS, "models/wide.lua": FACTORY, "main.lua": main_lua}
    said, model = found(tmp_path, files, "models/wide.lua")
    assert said == "--caller main.lua --call 'model'"
    assert sizes(model) == [(5, 3), (2, 5)]
    assert len(model["modules"]) == 2  # as the function gave it: what the script adds is no part of it


def test_a_file_that_the_options_do_not_choose(tmp_path: Path) -> None:
    main_lua = "local opt = require('opts').parse(arg) model = require('models.' .. opt.net)(opt) image.load('x')"
    other = FACTORY.replace("2))", "7))")
    files = {"opts.lua": OPTIONS, "models/wide.lua": FACTORY, "models/deep.lua": other, "main.lua": main_lua}
    said, model = found(tmp_path, files, "models/deep.lua")
    assert said == "--caller main.lua --opt net=deep --call 'model'"
    assert sizes(model) == [(5, 3), (7, 5)]
    way = {"options": {"net": "deep"}, "named": ["net"]}
    again = found(tmp_path, files, "models/deep.lua", caller="main.lua", call="model", **way)
    assert sizes(again[1]) == [(5, 3), (7, 5)]


def test_several_options_that_may_choose_a_file(tmp_path: Path) -> None:
    options = OPTIONS.replace("cmd:option('-net'", "cmd:option('-teacher', 'wide', 'x') cmd:option('-net'")
    main_lua = "local opt = require('opts').parse(arg) model = require('models.' .. opt.net)(opt)"
    files = {"opts.lua": options, "models/wide.lua": FACTORY, "models/deep.lua": FACTORY, "main.lua": main_lua}
    said, _ = found(tmp_path, files, "models/deep.lua")
    assert said == "--caller main.lua --call 'definition(opt)'"


def test_options_of_a_file_of_their_own(tmp_path: Path) -> None:
    said, model = found(tmp_path, {"opts.lua": OPTIONS, "net.lua": FACTORY}, "net.lua")
    assert said == "--caller opts.lua --call 'definition(caller.parse(arg))'"
    assert sizes(model) == [(5, 3), (2, 5)]


def test_globals_of_the_script(tmp_path: Path) -> None:
    text = "function net() return nn.Sequential():add(lib.SpatialConvolution(3, opt.width, 1, 1)) end"
    main_lua = "opt = require('opts').parse(arg) lib = nn dofile('net.lua') local x = net() torch.load('images.t7')"
    said, model = found(tmp_path, {"opts.lua": OPTIONS, "net.lua": text, "main.lua": main_lua}, "net.lua")
    assert said == "--caller main.lua --call 'net'"
    assert sizes(model) == [(5, 3, 1, 1)]


def test_a_function_that_takes_nothing(tmp_path: Path) -> None:
    text = "function block() return nn.Linear(3, 4) end function net() return nn.Sequential():add(block()) end"
    said, model = found(tmp_path, {"net.lua": text}, "net.lua")
    assert said == "--call 'net()'"
    assert sizes(model) == [(4, 3)]


def test_options_that_are_given(tmp_path: Path) -> None:
    said, model = found(tmp_path, {"net.lua": FACTORY, "opts.lua": OPTIONS}, "net.lua", options={"width": 9})
    assert said == "--call 'model(opt)'"
    assert sizes(model) == [(9, 3), (2, 9)]


BUILT = "local part = nn.Sequential():add(nn.Linear(3, 4)) local net = nn.Sequential():add(part)\n"


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "local data = torch.load('x.t7')",
        "local data = image.load('x') net:training() local p, g = net:getParameters() print(net)",
        "net = net:float()\nlocal data = image.load('x') optim.sgd(f, p, g)",
    ],
)
def test_a_variable_of_a_script_that_stops_behind_it(rest: str, tmp_path: Path) -> None:
    said, model = found(tmp_path, {"train.lua": BUILT + rest}, "train.lua")
    assert said == "--global net"
    assert model["modules"][1]["modules"][1]["weight"].size == (4, 3)


@pytest.mark.parametrize(
    "rest",
    [
        "nothing() net:add(nn.Tanh())",
        "nothing() part:add(nn.Tanh())",
        "nothing() net = nn.Sequential():add(net)",
        "nothing() local more = net more:add(nn.Tanh())",
        "nothing() finish(net)",
        "for i = 1, 2 do\nnet:add(nn.Tanh())\nnothing()\nend",
        "nothing() net.modules[1] = nn.Tanh()",
        "nothing() nn.Sequential():add(net)",
    ],
)
def test_a_network_that_may_not_be_whole_is_refused(rest: str, tmp_path: Path) -> None:
    with pytest.raises(LuaStopped, match="nothing"):
        found(tmp_path, {"train.lua": BUILT + rest}, "train.lua")


@pytest.mark.parametrize(
    ("rest", "kinds"),
    [
        ("local data = image.load('x') net:add(nn.Tanh())", ["Sequential", "Tanh"]),
        ("local data = io.open('x'):read('*a') for w in data:gmatch('.') do print(w) end net:add(nn.Tanh())", None),
        ("local n = tonumber(torch.load('x.t7').size)\nif n > 3 then n = 3 end\nnet:add(nn.Tanh())", None),
        ("local f = io.open('x')\nif f then error('it is there') end\nnet:add(nn.Tanh())", None),
        ("local data = require('hdf5').open('x')\nnet:insert(nn.Tanh(), 1)", ["Tanh", "Sequential"]),
    ],
)
def test_a_script_goes_on_without_data(rest: str, kinds: list[str] | None, tmp_path: Path) -> None:
    said, model = found(tmp_path, {"train.lua": BUILT + rest}, "train.lua")
    assert said == "--global net"
    names = [each.typename.removeprefix("nn.") for each in model["modules"].list()]
    assert names == (kinds or ["Sequential", "Tanh"])


@pytest.mark.parametrize(
    "rest",
    [
        "net:add(nn.Linear(image.load('x'), 4))",
        "for i = 1, 2 do\nif image.load('x') then end\nnet:add(nn.Tanh())\nend",
        "local function more() if image.load('x') == 1 then end\nnet:add(nn.Tanh()) end more()",
        "local function more(m) local n = not image.load('x')\nm:add(nn.Tanh()) end more(part)",
        "net = image.load('x') and nn.Tanh() or net",
        "if image.load('x') then net = nn.Sequential():add(net) end",
        "if image.load('x') then net.modules[1] = nn.Tanh() end",
        "local ok = pcall(function() while torch.load('x') do end end) if ok then net:add(nn.Tanh()) end",
        "local t = {a = 1}\nif not t[image.load('x')] then net:add(nn.Tanh()) end",
        "if #image.load('x') == 0 then net:add(nn.Tanh()) end",
        "local a, b = image.load('x')\nif b then net:add(nn.Tanh()) end",
        "if type(image.load('x')) == 'table' then net:add(nn.Tanh()) end",
        "if torch.isTensor(image.load('x')) then net:add(nn.Tanh()) end",
        "if tonumber(image.load('x')) == 3 then net:add(nn.Tanh()) end",
        "for k, v in pairs(image.load('x')) do net:add(nn.Tanh()) end",
        "for i = 1, image.load('x') do net:add(nn.Tanh()) end",
        "if string.format('%d, %s', 3, image.load('x')) == '3, 4' then net:add(nn.Tanh()) end",
        "opt = {}\nlocal function set(o) if image.x() then end\no.a = 1 end set(opt)\nif opt.a then net:add(1) end",
        "deep = false\nlocal function set() if image.x() then end\ndeep = true end set()\nif deep then net:add(1) end",
    ],
)
def test_a_network_that_only_data_decide_is_refused(rest: str, tmp_path: Path) -> None:
    with pytest.raises((NoCall, LuaStopped)):
        found(tmp_path, {"train.lua": BUILT + rest}, "train.lua")


def test_a_file_that_uses_the_package_that_the_repository_is(tmp_path: Path) -> None:
    files = {"init.lua": "mylib = {width = 4}", "nets/net.lua": "return nn.Linear(3, mylib.width)"}
    assert found(tmp_path, files, "nets/net.lua")[1]["weight"].size == (4, 3)


def test_a_network_in_a_table(tmp_path: Path) -> None:
    text = "local net = nn.Linear(3, opt.width) return {model = net, rates = {1, 2}}"
    with_opt = text.replace("local", "opt = {width = 4} local")
    assert found(tmp_path, {"net.lua": with_opt}, "net.lua")[0] == "--call 'model.model'"
    main_lua = "opt = require('opts').parse(arg) local data = torch.load('x.t7')"
    said, model = found(tmp_path, {"net.lua": text, "main.lua": main_lua, "opts.lua": OPTIONS}, "net.lua")
    assert said == "--caller main.lua --call 'definition.model'"
    assert model["weight"].size == (5, 3)


def test_several_are_listed(tmp_path: Path) -> None:
    text = "function netG() return nn.Linear(3, 4) end function netD() return nn.Linear(4, 1) end"
    with pytest.raises(NoCall) as error:
        found(tmp_path, {"net.lua": text}, "net.lua")
    assert error.value.ways == ("--call 'netD()'", "--call 'netG()'")
    said, model = found(tmp_path, {}, "net.lua", wanted={"numbers": 5})
    assert said == "--call 'netD()' (it alone has the 5 parameters of the weights)"
    assert model["weight"].size == (1, 4)
    with pytest.raises(NoCall):
        found(tmp_path, {}, "net.lua", wanted={"numbers": 6})


def test_what_only_data_tell_is_named(tmp_path: Path) -> None:
    text = "local M = {} function M.net(words, opt) return nn.LookupTable(words, opt.width) end return M"
    main_lua = """opt = require('opts').parse(arg) local M = require 'net' local data = torch.load('x.t7')
    local words = #data.vocabulary local x = M.net(words, opt)"""
    with pytest.raises(NoCall) as error:
        found(tmp_path, {"opts.lua": OPTIONS, "net.lua": text, "main.lua": main_lua}, "net.lua")
    assert error.value.calls == ["model.net(words, opt)"]
    assert error.value.ways == (
        "--caller main.lua --call 'M.net(words, opt)' (main.lua:2 calls it so; not known: words)",
    )


def test_calls_with_different_sizes_are_no_choice(tmp_path: Path) -> None:
    text = "function block(a, b) return nn.Linear(a, b) end"
    main_lua = "dofile('net.lua') nothing()\nlocal x = nn.Sequential():add(block(2, 3)):add(block(3, 4))"
    with pytest.raises(NoCall) as error:
        found(tmp_path, {"net.lua": text, "main.lua": main_lua}, "net.lua")
    assert "(main.lua:2 and main.lua:2 call it with different arguments)" in error.value.ways[0]


def test_a_layer_without_parameters_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(NoCall):
        found(tmp_path, {"net.lua": "function gram() return nn.JoinTable(1) end joined = nn.JoinTable(1)"}, "net.lua")


def test_different_networks_of_one_function_are_no_choice(tmp_path: Path) -> None:
    text = "function net(a) return nn.Linear(a, 2) end"
    main_lua = "dofile('net.lua') local a, b = net(3), net(4)"
    with pytest.raises(NoCall) as error:
        found(tmp_path, {"net.lua": text, "main.lua": main_lua}, "net.lua")
    assert "it gives 2 different networks, the first in main.lua:1" in error.value.ways[0]


def test_an_option_that_is_set_behind_where_the_script_stopped(tmp_path: Path) -> None:
    main_lua = "opt = require('opts').parse(arg) local n = torch.load('x.t7')\nopt.width = n\nlocal x = net(opt.width)"
    text = "function net(width) return nn.Linear(3, width) end"
    with pytest.raises(NoCall) as error:
        found(tmp_path, {"opts.lua": OPTIONS, "net.lua": text, "main.lua": main_lua}, "net.lua")
    assert "not known: opt.width" in error.value.ways[0]


def test_a_caller_that_is_named(tmp_path: Path) -> None:
    files = {"net.lua": FACTORY, "a.lua": "x = require('net'){width = 4}", "b.lua": "x = require('net'){width = 6}"}
    assert sizes(found(tmp_path, files, "net.lua", caller="b.lua")[1]) == [(6, 3), (2, 6)]
    said, model = found(tmp_path, files, "net.lua", caller="a.lua", call="definition{width = 8}")
    assert said == ""
    assert sizes(model) == [(8, 3), (2, 8)]


@pytest.mark.slow
def test_the_command_looks_in_the_folder_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "project" / "models").mkdir(parents=True)
    (tmp_path / "project" / "README.md").write_text("")
    (tmp_path / "project" / "opts.lua").write_text(OPTIONS)
    (tmp_path / "project" / "models" / "net.lua").write_text(FACTORY)
    file = str(tmp_path / "project" / "models" / "net.lua")
    run = CliRunner().invoke(cli, ["convert", file, "-o", str(tmp_path / "out")])
    assert run.exit_code == 2
    assert "--fresh-weights" in run.output
    run = CliRunner().invoke(cli, ["convert", file, "--fresh-weights", "-o", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    assert "--caller opts.lua --call 'definition(caller.parse(arg))'" in " ".join(run.output.split())
    assert "it was never trained" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
def test_the_command_takes_the_files_of_own_classes(tmp_path: Path) -> None:
    (tmp_path / "Twice.lua").write_text(
        "local Twice, parent = torch.class('my.Twice', 'nn.Module')\n"
        "function Twice:updateOutput(x) self.output:resizeAs(x):copy(x):mul(2) return self.output end\n"
        "function Twice:updateGradInput(x, g) self.gradInput:resizeAs(g):copy(g):mul(2) return self.gradInput end\n"
    )
    (tmp_path / "net.lua").write_text("dofile 'Twice.lua' return nn.Sequential():add(nn.Linear(3, 2)):add(my.Twice())")
    out = str(tmp_path / "out")
    run = CliRunner().invoke(
        cli, ["convert", str(tmp_path / "net.lua"), "--fresh-weights", "-o", out, "--input-shape", "2x3"]
    )
    assert run.exit_code == 0, run.output
    assert "classes of its own: my.Twice" in run.output
    network = tm.lua.define("net.lua", folder=tmp_path)
    module = tm.convert(network, lua=[tmp_path / "Twice.lua"]).module
    x = torch.tensor([[1.0, 2.0, -3.0], [0.5, 0.0, 4.0]])
    linear = tm.convert(network["modules"][1]).module
    assert torch.equal(module(x), 2 * linear(x))


def test_tables_that_are_written_with_numbers() -> None:
    text = "-- {[1] = 2}\nlocal a, s = {[1] = 2, {[ 3 ] = '={[1] = 2}'}}, f{[1] = 2}\nreturn {\n [1] = 2, x[1]}"
    assert with_marked_tables(text) == (
        "-- {[1] = 2}\nlocal a, s =  __hashed{[1] = 2,  __hashed{[ 3 ] = '={[1] = 2}'}}, f{[1] = 2}\n"
        "return  __hashed{\n [1] = 2, x[1]}"
    )


def test_names_and_calls_in_a_text() -> None:
    assert names_in("a, opt.size * 2, {key = b}, 'text', f(c.d), x:size(1), nil") == [
        "a",
        "opt.size",
        "b",
        "f",
        "c.d",
        "x",
    ]
    text = "-- net(1)\nlocal s = 'net(2)'\nfunction net(a) end\ny = net(f(3), (4))\nz = other.net(5)"
    assert [(site.arguments, site.line) for site in call_sites("s", text, "net", "net")] == [("f(3), (4)", 4)]
    assert [site.text for site in call_sites("s", text, "model.net", "net")] == ["other.net(5)"]
    assert is_set_between("a\nopt.x, y = 1, 2\n", "opt", 1)
    assert not is_set_between("a\nif opt.x == 1 then end\n", "opt", 1)
    assert is_whole("net:add(x)\nstop()\nprint(net)", 2, ["net"])


def test_a_network_that_the_script_has_put_into_the_table(tmp_path: Path) -> None:
    model = """local Model = {}
    function Model:create(size)
       self.inner = nn.Sequential():add(nn.Linear(size, 4))
       self.whole = nn.Sequential():add(self.inner):add(nn.Linear(4, size))
    end
    return Model"""
    main = "local Model = require 'model' Model:create(6) Model.whole:insert(nn.Tanh(), 1)"
    said, found_model = found(tmp_path, {"model.lua": model, "main.lua": main}, "model.lua")
    assert said == "--caller main.lua --call 'definition.whole'"
    assert (sizes(found_model), len(found_model["modules"])) == ([(6, 4)], 3)


def test_an_allocation_that_only_data_need_stops_one_statement(tmp_path: Path) -> None:
    main = "local data = torch.FloatTensor(60000, 3, 900, 1200)\nlocal net = require('models.wide')({width = 5})"
    said, model = found(tmp_path, {"models/wide.lua": FACTORY, "main.lua": main}, "models/wide.lua")
    assert (said, sizes(model)) == ("--caller main.lua --call 'model'", [(5, 3), (2, 5)])
    with pytest.raises((LuaStopped, NoCall)):
        found(
            tmp_path, {"m.lua": "net = nn.Sequential():add(nn.Linear(3, 2))\nnet:add(nn.Linear(60000, 60000))"}, "m.lua"
        )


def test_a_script_that_loads_another_file_of_the_same_name(tmp_path: Path) -> None:
    net = "local M = {}\nfunction M.create(opt) return nn.Sequential():add(nn.Linear(3, opt.width)) end\nreturn M"
    other = "local net = require 'models.net' opt = {width = 7} local x = net.create(opt)"
    files = {"a/models/net.lua": net, "a/main.lua": other, "b/models/net.lua": net}
    with pytest.raises(NoCall) as none:
        found(tmp_path, files, "b/models/net.lua")
    assert none.value.ways == ()
    files["b/main.lua"] = other.replace("7", "4")
    said, model = found(tmp_path, files, "b/models/net.lua")
    assert (said, sizes(model)) == ("--caller b/main.lua --call 'model.create'", [(4, 3)])


def test_a_function_of_another_file_of_the_same_name(tmp_path: Path) -> None:
    """What a script calls is a function of the file that it has loaded, not of one that has a function of that name."""
    net = "function create(opt) return nn.Sequential():add(nn.Linear(3, opt.width)) end"
    main_lua = "dofile 'other/small.lua' opt = {width = 7} local x = create(opt)"
    for files in ({"nets/big.lua": net}, {"nets/big.lua": "create = dofile 'other/make.lua'", "other/make.lua": net}):
        files |= {"other/small.lua": net.replace("3", "4"), "train.lua": main_lua}
        with pytest.raises(NoCall) as none:
            found(tmp_path, files, "nets/big.lua")
        assert none.value.ways == ()
