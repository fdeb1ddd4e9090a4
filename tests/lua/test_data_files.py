"""Data that lie below the folder are read where a script needs them; what scripts write stays in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import torchmigrate as tm

pytest.importorskip("lupa")

from lua_runtimes import evaluated
from test_search import found, sizes

from torchmigrate.cli.main import cli
from torchmigrate.lua.callers import NoCall
from torchmigrate.lua.folders import Folders
from torchmigrate.lua.limits import LuaLimits
from torchmigrate.lua.result import CantLeave
from torchmigrate.lua.runtime import LuaStopped, Runtime
from torchmigrate.lua.sizes import wanted_numbers

NET = """local M = {}
function M.net(words, width) return nn.Sequential():add(nn.LookupTable(words, width)):add(nn.Linear(width, words)) end
return M"""
# counts the letters of a text, and keeps what it counted in files of its own, as character models do
LOADER = """local path, lfs = require 'pl.path', require 'lfs'
local L = {}
function L.create(folder)
   local text, vocab = path.join(folder, 'input.txt'), path.join(folder, 'vocab.t7')
   local tensor = path.join(folder, 'data.t7')
   local stale = not (path.exists(vocab) and path.exists(tensor))
   if not stale then stale = lfs.attributes(text).modification > lfs.attributes(vocab).modification end
   if stale then
      local f, seen, order, count = assert(io.open(text, 'r')), {}, {}, 0
      repeat
         local part = f:read(4)
         for letter in (part or ''):gmatch('.') do
            seen[letter] = true
            count = count + 1
         end
      until not part
      f:close()
      for letter in pairs(seen) do order[#order + 1] = letter end
      table.sort(order)
      local map, data = {}, torch.ByteTensor(count)
      for i, letter in ipairs(order) do map[letter] = i end
      f = io.open(text)
      local all = f:read('*all')
      for i = 1, #all do data[i] = map[all:sub(i, i)] end
      torch.save(vocab, map)
      torch.save(tensor, data)
   end
   local self, data = {size = 0}, torch.load(tensor)
   for _ in pairs(torch.load(vocab)) do self.size = self.size + 1 end
   self.width = data:max() + data:size(1)
   return self
end
return L"""
TRAIN = """local net, L = require 'net', require 'loader'
local loader = L.create('data') local words = loader.size
local model = net.net(words, loader.width)"""
FILES = {"lib/net.lua": NET, "lib/loader.lua": LOADER, "lib/train.lua": TRAIN, "lib/data/input.txt": "banana band"}


def reading(folder: Path, run: int = 0) -> Runtime:
    limits = LuaLimits(lua_bytes=128 << 20, elements=1 << 24)
    return Runtime(Folders([str(folder)], limits.file_bytes), limits, run, data=True)


@pytest.mark.parametrize("kept", [False, True])
def test_sizes_follow_from_data_below_the_folder(kept: bool, tmp_path: Path) -> None:
    if kept:  # as the author's own run left them
        (tmp_path / "lib" / "data").mkdir(parents=True)
        vocabulary = tm.LuaTable([(letter, at) for at, letter in enumerate("abcdefgh", 1)])
        tm.dump(vocabulary, tmp_path / "lib" / "data" / "vocab.t7")
        numbers = evaluated(reading(tmp_path), "return torch.ByteTensor{1, 8, 3}")[0]
        tm.dump(numbers, tmp_path / "lib" / "data" / "data.t7")
    said, model = found(tmp_path, FILES, "lib/net.lua")
    assert said == "--caller lib/train.lua --call 'model.net'"
    words, width = (8, 11) if kept else (5, 16)
    assert sizes(model) == [(words, width), (words, width)]
    left = sorted(path.name for path in (tmp_path / "lib" / "data").iterdir())
    assert left == ["data.t7", "input.txt", "vocab.t7"][slice(None) if kept else slice(1, 2)]


def test_a_number_that_is_given_is_taken_in_place_of_the_data(tmp_path: Path) -> None:
    said, model = found(tmp_path, FILES, "lib/net.lua", options={"size": 9, "width": 2}, named=["size", "width"])
    assert said == "--caller lib/train.lua --call 'model.net'"
    assert sizes(model) == [(9, 2), (9, 2)]


def test_the_weights_say_that_the_data_are_others(tmp_path: Path) -> None:
    train = TRAIN.replace("loader.width", "4")
    job = {"wanted": wanted_numbers(evaluated(reading(tmp_path), "return torch.zeros(7 * 4 + 7 * 4 + 7)")[0])}
    said, model = found(tmp_path, FILES | {"lib/train.lua": train}, "lib/net.lua", **job)
    assert sizes(model) == [(7, 4), (7, 4)], said


def test_data_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("banana band")
    (tmp_path / "project" / "data").mkdir(parents=True)
    (tmp_path / "project" / "data" / "input.txt").symlink_to(tmp_path / "input.txt")
    files = {name: text for name, text in FILES.items() if not name.endswith(".txt")}
    with pytest.raises(NoCall, match=r"model\.net"):
        found(tmp_path / "project", files, "lib/net.lua")


# what th printed for the same text
def test_a_file_is_read_as_lua_reads_it(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("ab cd\n\n 12 -3.5e1x\nlast")
    text = (
        "local f = io.open('r.txt') local v = {f:read(), f:read('*l'), f:read('*n', '*number')} "
        "v[#v + 1] = f:read(3) v[#v + 1] = f:read('*a') v[#v + 1] = f:read('*a') v[#v + 1] = tostring(f:read()) "
        "v[#v + 1] = f:seek('set', 3) v[#v + 1] = f:read(2) v[#v + 1] = f:seek() v[#v + 1] = f:seek('end') "
        "f:seek('set') local n, t = 0, {} for line in f:lines() do n = n + #line end "
        "for line in io.lines('./r.txt') do t[#t + 1] = line end v[#v + 1] = n v[#v + 1] = #t v[#v + 1] = t[4] "
        "return v, pcall(f.read, f, '*x')"
    )
    values, ok, message = evaluated(reading(tmp_path), text)
    wanted = ["ab cd", "", 12, -35, "x\nl", "ast", "", "nil", 3, "cd", 5, 23, 20, 4, "last"]
    assert (values.list(), ok) == (wanted, False)
    assert "bad argument #1 to 'read' (invalid format)" in message


def test_what_a_script_writes_it_reads_again(tmp_path: Path) -> None:
    text = (
        "require 'paths' local f = io.open('a.txt', 'w') f:write('x', 1, '\\n') f:close() f = io.open('./a.txt', 'a') "
        "f:write('y') f:close() local t = {torch.ones(2), 3} torch.save('out/t.t7', t) t[1]:fill(7) "
        "local u = torch.load('out/t.t7') return io.open('a.txt'):read('*a'), paths.filep('out/t.t7'), u[1]:sum(), "
        "u[2], paths.filep('out/u.t7')"
    )
    assert evaluated(reading(tmp_path), text) == ["x1\ny", True, 2, 3, False]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "local f = io.open('a.txt', 'w') f:write(io.open('none.txt')) return io.open('a.txt'):read('*a')",
        "torch.save('a.txt', 3) return io.open('a.txt'):read('*a')",
        "io.open('a.t7', 'w'):write('x') return torch.load('a.t7')",
        "return io.open('/etc/passwd'):read('*a')",
        "return io.open('../' .. ('x'):rep(3)):read()",
        "return io.lines('/etc/passwd')",
    ],
)
def test_what_is_not_known_stays_so_in_a_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(CantLeave, match="from data that are not"):
        evaluated(reading(tmp_path), text)


def test_numbers_that_are_written_one_by_one(tmp_path: Path) -> None:
    text = (
        "local b = torch.ByteTensor(5):zero() b[1] = 30 b[2] = 1.7 b[3] = 1 b[5] = 4 b[5] = 9 "
        "local d = torch.zeros(6):narrow(1, 2, 4) d[4] = 2.5 d[1] = 1 d[1] = 3 local s = d:storage() "
        "local ok, e = pcall(function() d[7] = 1 end) d[-1] = 8 local m = torch.zeros(2, 2) m[1] = 4 "
        "local x = torch.zeros(3) x[1] = 5 x:resize(5) x[5] = 2 s[1] = 77 "
        "return b, d, ok, e, s[1], s[2], m:sum(), x, d:sum()"
    )

    def plain(lua: Runtime) -> list[Any]:
        return [v.numpy().tolist() if isinstance(v, tm.t7.Tensor) else v for v in evaluated(lua, text)]

    limits = LuaLimits(lua_bytes=128 << 20)
    at_once = plain(Runtime(Folders([str(tmp_path)], 1 << 20), limits))
    assert plain(reading(tmp_path)) == at_once
    assert at_once[:2] == [[30, 1, 1, 0, 9], [3, 0, 0, 8]]


@pytest.mark.slow
def test_the_command_names_the_data(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = CliRunner().invoke(
        cli, ["convert", str(tmp_path / "lib" / "net.lua"), "--fresh-weights", "-o", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert "its sizes may follow from data that it read: data/input.txt" in done.output


@pytest.mark.parametrize("kept", [False, True])
def test_a_memory_file_is_read_from_its_storage(kept: bool, tmp_path: Path) -> None:
    text = (
        "local m = torch.MemoryFile('w'):binary() m:writeObject({torch.ones(3), n = 2}) "
        "local r = torch.MemoryFile(m:storage(), 'r'):binary() local t = r:readObject() r:close() "
        "return t[1]:sum(), t.n"
    )
    lua = reading(tmp_path) if kept else Runtime(Folders([str(tmp_path)], 1 << 20), LuaLimits(lua_bytes=128 << 20))
    assert evaluated(lua, text) == [3, 2]


_NET = "net = nn.Sequential():add(nn.Linear(3, opt.width)):add(nn.Linear(opt.width, 2))"
_ENV = "opt = {width = 4} for k, v in pairs(opt) do opt[k] = tonumber(os.getenv(k)) or opt[k] end " + _NET
_CMD = "local cmd = torch.CmdLine() cmd:option('-width', 4, 'units') local opt = cmd:parse(arg) " + _NET
_LAPP = "local opt = require 'pl.lapp' [[\n --width (default 4) units\n]] " + _NET
_GLOBAL = "opt = opt or {width = 4} " + _NET


@pytest.mark.parametrize("way", [{}, {"global_name": "net"}])
@pytest.mark.parametrize("text", [_ENV, _CMD, _LAPP, _GLOBAL])
def test_an_option_of_the_scripts_own(text: str, way: dict[str, str], tmp_path: Path) -> None:
    for options, width in (({}, 4), ({"width": 7}, 7)) if text != _GLOBAL else (({"width": 7}, 7),):
        _, model = found(tmp_path, {"main.lua": text}, "main.lua", options=options, named=list(options), **way)
        assert sizes(model) == [(width, 3), (2, width)]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"other": 7}, "makes its own options, and reads no option other"), ({"width": "x"}, "is a number, not x")],
)
def test_an_option_that_the_script_does_not_have_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(LuaStopped, match=message):
        found(tmp_path, {"main.lua": _CMD}, "main.lua", options=options, named=list(options), global_name="net")


def test_classes_of_classic(tmp_path: Path) -> None:
    text = (
        "local classic = require 'classic' local A = classic.class('A') function A:_init(n) self.n = n end "
        "function A:twice() return 2 * self.n end local B, super = classic.class('B', A) "
        "function B:_init(n) super._init(self, n + 1) end function B.static.of(n) return B(n) end "
        "local b = B.of(3) return b:twice(), b:class() == B, super == A, B:isSubclassOf(A), classic.isClass(B)"
    )
    assert evaluated(reading(tmp_path), text) == [8, True, True, True, True]


def test_the_sizes_of_mnist_are_known_and_not_what_it_shows(tmp_path: Path) -> None:
    text = "local m = require 'mnist' local t = m.traindataset() return t.size, t.data:size(3), t.data:max()"
    limits = LuaLimits(lua_bytes=128 << 20)
    lua = [Runtime(Folders([str(tmp_path)], 1 << 20), limits, run) for run in (0, 1)]
    first, second = (evaluated(each, text) for each in lua)
    assert first[:2] == second[:2] == [60000, 28]
    assert first[2] != second[2]


def test_a_package_that_is_installed_without_its_folders(tmp_path: Path) -> None:
    (tmp_path / "init.lua").write_text("own = {}\nrequire('own.part')\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "part.lua").write_text("own.size = 5\n")
    assert evaluated(reading(tmp_path), "require 'own' return own.size") == [5]
