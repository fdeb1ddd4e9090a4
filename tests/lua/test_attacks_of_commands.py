"""What the sandbox holds, it holds where the command is run with `--lua` and `--run-lua`: as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from attacks import NOT_READ, NOT_THERE, RECURSIVE_GSUB, REFUSED

import torchmigrate as tm

pytest.importorskip("lupa")

pytestmark = pytest.mark.slow

SECRET = "what nobody may read"

#: They take memory or the stack; each ends the whole run, and has a run of its own.
HEAVY = {
    "local s = ('x'):rep(1e9) return #s",
    "local t = {} for i = 1, 1e9 do t[i] = {} end",
    "local function f() return 1 + f() end return f()",
    RECURSIVE_GSUB,
}

#: The limits of a command allow as much.
ALLOWED = {"torch.Tensor(1):expand(1e9):clone()"}

#: Each would read a file beside the folder, or follow a link out of it.
READS = [
    "return assert(io.open('{outside}')):read('*a')",
    "return assert(io.open('../secret.txt')):read('*a')",
    "return assert(io.open('link.txt')):read('*a')",
    "for line in io.lines('{outside}') do return line end",
    "return torch.load('{outside}')",
    "return torch.DiskFile('{outside}'):readString('*a')",
    "return dofile('{outside}')",
    "return dofile('link.txt')",
    "return require('...secret')",
]

#: Each would write a file, which what it is given then pretends at most.
WRITES = [
    "assert(io.open('pwned', 'w')):write('x')",
    "os.rename('layer.lua', 'moved.lua')",
    "os.remove('layer.lua')",
    "require('paths').mkdir('pwned')",
    "torch.save('pwned', {1})",
    "torch.DiskFile('pwned', 'w'):writeString('x')",
    "os.execute('touch pwned')",
    "io.popen('touch pwned')",
]


def model(folder: Path) -> Path:
    """A file with a layer of the author's class."""
    layer = tm.LuaObject("my.Layer", tm.LuaTable([("train", False)]))
    tm.dump(tm.LuaTable([("model", layer)]), folder / "model.t7")
    return folder / "model.t7"


def lua(folder: Path, at_load: str, at_run: str = "") -> Path:
    """An author's file, in a folder of its own beside which there is a secret."""
    (folder / "secret.txt").write_text(SECRET)
    inside = folder / "lua"
    inside.mkdir()
    (inside / "link.txt").symlink_to(folder / "secret.txt")
    file = inside / "layer.lua"
    file.write_text(
        f"local L = torch.class('my.Layer', 'nn.Module')\n{at_load}\n"
        f"function L:updateOutput(x)\n{at_run}\nself.output = x\nreturn self.output\nend\n"
    )
    return file


def convert(folder: Path, file: Path, *words: str) -> tuple[int, str]:
    """Runs the command; its exit code and what it says."""
    before = sorted(os.listdir(folder / "lua")), sorted(os.listdir(folder))
    options = ["--key", "model", "--input-shape", "2x3", "-o", str(folder / "out"), "--lua", str(file), *words]
    command = [sys.executable, "-m", "torchmigrate", "convert", str(model(folder)), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder / "lua", timeout=280, check=False)
    said = done.stdout + done.stderr
    assert sorted(os.listdir(folder / "lua")) == before[0], "it wrote into its folder"
    assert set(os.listdir(folder)) <= {*before[1], "model.t7", "out"}, "it wrote beside its folder"
    assert SECRET not in said
    assert "Traceback" not in said
    out = folder / "out"
    assert not any(SECRET in path.read_bytes().decode("latin-1") for path in out.rglob("*") if path.is_file())
    return done.returncode, said


def tried(folder: Path, at_load: bool) -> str:
    """Lua that tries everything, and ends with an error that names what got through.

    While files are loaded, what a file would give is a stand-in, by which nothing can be decided.
    """
    lines = ["local through = {}", f"local secret = '{SECRET[:8]}' .. '{SECRET[8:]}'"]
    refused = [f"assert({name} ~= nil)" for name in NOT_THERE]
    refused += [text for text in REFUSED if text not in HEAVY | ALLOWED]
    for place, text in enumerate(refused):
        lines.append(f"do local ok = pcall(function() {text} end) if ok then through[#through + 1] = {place} end end")
    for place, text in enumerate(text for text in READS if not (at_load and text.startswith("for"))):
        read = text.replace("{outside}", str(folder / "secret.txt"))
        lines.append(f"do local ok, got = pcall(function() {read} end)")
        found = "ok and type(got) == 'string' and string.find(got, secret, 1, true)"
        lines.append("end" if at_load else f"if {found} then through[#through + 1] = 'read {place}' end end")
    lines += [f"pcall(function() {text} end)" for text in WRITES]
    return "\n".join([*lines, "error('got through: ' .. table.concat(through, ' ') .. ';')"])


@pytest.mark.parametrize("words", [[], ["--run-lua", "my.Layer"]])
@pytest.mark.parametrize("at_load", [True, False])
def test_nothing_gets_through(at_load: bool, words: list[str], tmp_path: Path) -> None:
    text = tried(tmp_path, at_load)
    code, said = convert(tmp_path, lua(tmp_path, text) if at_load else lua(tmp_path, "", text), *words)
    assert code in (2, 4), said
    if at_load or words:
        assert "got through: ;" in said.replace("\n", " "), said
    else:  # it is tried for every input that is looked for, until there is no memory left
        assert "got through: ;" in said.replace("\n", " ") or "the process of the Lua ended by itself" in said, said


@pytest.mark.parametrize("text", sorted(HEAVY))
def test_what_takes_memory_or_the_stack_ends_cleanly(text: str, tmp_path: Path) -> None:
    for place, (at_load, words) in enumerate([(True, []), (False, ["--run-lua", "my.Layer"])]):
        folder = tmp_path / str(place)
        folder.mkdir()
        attack = f"local function attack() {text} end attack()"
        code, said = convert(folder, lua(folder, attack) if at_load else lua(folder, "", attack), *words)
        assert code in (2, 3, 4, 5), (code, said)


def test_what_reads_files_gives_nothing_of_them(tmp_path: Path) -> None:
    text = "\n".join(f"pcall(function() print({each}) end)" for each in NOT_READ)
    code, said = convert(tmp_path, lua(tmp_path, text))
    assert code in (0, 2, 4), said
    assert "root:" not in said
    assert "uid=" not in said


def test_a_layer_that_does_no_harm_converts(tmp_path: Path) -> None:
    code, said = convert(tmp_path, lua(tmp_path, "", "assert(x:dim() == 2)"))
    assert code == 0, said
    assert torch.equal(
        tm.load_converted(tmp_path / "out", plugins=[tmp_path / "out" / "lua_layers.py"])(torch.ones(2, 3)),
        torch.ones(2, 3),
    )
