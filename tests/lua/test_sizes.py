"""Sizes that only data told are options, or the one whole number that gives the parameters of the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import torchmigrate as tm

pytest.importorskip("lupa")

from test_search import FACTORY, OPTIONS, found, sizes

from torchmigrate.lua.callers import NoCall
from torchmigrate.lua.sizes import solved, wanted_numbers

NET = """local M = {}
function M.net(words, opt)
   return nn.Sequential():add(nn.LookupTable(words, opt.width)):add(nn.Linear(opt.width, words))
end
return M"""
MAIN = """opt = require('opts').parse(arg) local M = require 'net' local data = torch.load('x.t7')
local words = #data.vocabulary local x = M.net(words, opt)"""
FILES = {"opts.lua": OPTIONS, "net.lua": NET, "main.lua": MAIN}
CALL = "--caller main.lua --call 'M.net(words, opt)'"


@pytest.mark.parametrize(
    ("numbers", "built", "size"),
    [
        (77, lambda n: 11 * n, 7),
        (11 * 7 + 7, lambda n: 11 * n + n, 7),
        (4 * 49 + 3 * 7 + 1, lambda n: 4 * n * n + 3 * n + 1, 7),
        (78, lambda n: 11 * n, None),  # none fits
        (12, lambda _: 12, None),  # every one does
        (12, lambda n: 6 * (n // 2), None),  # two do
        (21, lambda n: n * n - 10 * n + 30, None),  # 1 and 9
        (700, lambda n: None if n < 60 else 10 * n, 70),
        (50, lambda n: None if n < 10 else 5 * n, 10),
        (8 * 3, lambda n: n * 3 if n < 8 else 99, None),
        (12, lambda _: None, None),
    ],
)
def test_the_one_whole_number(numbers: int, built: Callable[[int], int | None], size: int | None) -> None:
    assert solved(numbers, built) == size


def test_the_weights_as_they_are_counted() -> None:
    vector, matrix = tm.Tensor.from_numpy(np.ones(5)), tm.Tensor.from_numpy(np.ones((3, 2)))
    assert wanted_numbers(vector) == {"numbers": 5}
    assert wanted_numbers(tm.LuaTable.from_list([vector, matrix])) == {"numbers": 11, "tensors": 2}
    assert wanted_numbers(matrix) is None
    assert wanted_numbers(tm.LuaTable([("params", vector)])) is None


@pytest.mark.parametrize("job", [{}, {"options": {"width": 5}}, {"caller": "main.lua"}])
def test_a_size_that_follows_from_the_weights(job: dict[str, Any], tmp_path: Path) -> None:
    # 7 words of width 5: 7 * 5 + 5 * 7 + 7 numbers
    said, model = found(tmp_path, FILES, "net.lua", wanted={"numbers": 77}, **job)
    assert (
        said == f"{CALL} --opt words=7 (7 is the only whole number with which it has the 77 parameters of the weights)"
    )
    assert sizes(model) == [(7, 5), (7, 5)]


def test_none_fits(tmp_path: Path) -> None:
    with pytest.raises(NoCall) as error:
        found(tmp_path, FILES, "net.lua", wanted={"numbers": 78})
    assert (
        "not known: words; no whole number for it alone is the only one that gives 78 parameters" in error.value.ways[0]
    )
    assert error.value.unknown == ("words",)


def test_a_number_that_a_script_reads_in_a_branch(tmp_path: Path) -> None:
    text = "local M = {} function M.net(words, width) return nn.Linear(words, width) end return M"
    main_lua = """local M = require 'net' local data = torch.load('x.t7') opt = {width = 3}
    if opt.width > 5 then opt.width = data.width else net = M.net(data.words, opt.width) end"""
    files = {"net.lua": text, "main.lua": main_lua}
    with pytest.raises(NoCall) as error:
        found(tmp_path, files, "net.lua")
    assert "words" in error.value.unknown
    said, model = found(tmp_path, files, "net.lua", options={"words": 4}, named=["words"])
    assert (said, model["weight"].size) == ("--caller main.lua --call 'model.net'", (3, 4))
    said, model = found(tmp_path, files, "net.lua", wanted={"numbers": 3 * 7 + 3})
    assert said.startswith("--caller main.lua --call 'model.net' --opt words=7 (7 is the only")
    assert model["weight"].size == (3, 7)


def test_two_are_named(tmp_path: Path) -> None:
    text = "function net(words, classes) return nn.Linear(words, classes) end"
    main_lua = "dofile('net.lua') local data = torch.load('x.t7')\nlocal x = net(data.words, classes)"
    with pytest.raises(NoCall) as error:
        found(tmp_path, {"net.lua": text, "main.lua": main_lua}, "net.lua", wanted={"numbers": 20})
    assert "not known: data.words, classes)" in error.value.ways[0]
    assert error.value.unknown == ("words", "classes")
    said, model = found(tmp_path, {}, "net.lua", options={"words": 4, "classes": 3}, named=["words", "classes"])
    assert said == "--caller main.lua --call 'net(data.words, classes)'"
    assert model["weight"].size == (3, 4)


def test_an_option_that_the_script_sets_from_data(tmp_path: Path) -> None:
    main_lua = (
        "opt = require('opts').parse(arg) local n = torch.load('x.t7')\nopt.width = n\nlocal x = require('net')(opt)"
    )
    files = {"opts.lua": OPTIONS, "net.lua": FACTORY, "main.lua": main_lua}
    with pytest.raises(NoCall) as error:
        found(tmp_path, files, "net.lua")
    assert "not known: opt.width" in error.value.ways[0]
    said, model = found(tmp_path, files, "net.lua", wanted={"numbers": 3 * 6 + 6 + 6 * 2 + 2})
    assert said.startswith("--caller main.lua --call 'definition(opt)' --opt width=6 (6 is the only")
    assert sizes(model) == [(6, 3), (2, 6)]


@pytest.mark.parametrize("call", ["M.net(words, opt)", "M.net(data.words, opt)"])
@pytest.mark.parametrize("caller", [None, "main.lua"])
def test_options_give_what_nothing_else_does(call: str, caller: str | None, tmp_path: Path) -> None:
    job = {"options": {"words": 4, "width": 6}, "named": ["words", "width"], "call": call, "caller": caller}
    assert sizes(found(tmp_path, FILES, "net.lua", **job)[1]) == [(4, 6), (4, 6)]


def test_options_of_a_checkpoint_are_no_variables(tmp_path: Path) -> None:
    # words stands for the option only where the user says so: a script may call another number by that name
    with pytest.raises(NoCall, match="net"):
        found(tmp_path, FILES, "net.lua", options={"words": 4, "width": 6})


def test_parameters_by_their_names(tmp_path: Path) -> None:
    text = "function net(words, width) return nn.Linear(words, width) end"
    said, model = found(
        tmp_path, {"net.lua": text}, "net.lua", options={"width": 3}, named=["width"], wanted={"numbers": 15}
    )
    assert said.startswith("--call 'net(words, width)' --opt words=4 (4 is the only")
    assert model["weight"].size == (3, 4)


@pytest.mark.slow
def test_in_python(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    vector = np.arange(77, dtype=np.float32)
    weights = tm.LuaTable([("params", tm.Tensor.from_numpy(vector)), ("opt", tm.LuaTable([("width", 5.0)]))])
    model = tm.lua.define("net.lua", folder=tmp_path, weights=weights, weights_key="params")
    again = tm.lua.define(
        "net.lua",
        folder=tmp_path,
        caller="main.lua",
        call="M.net(words, opt)",
        options={"words": 7},
        weights=weights,
        weights_key="params",
    )
    for made in (model, again):
        assert np.array_equal(made["modules"][1]["weight"].numpy(), vector[:35].reshape(7, 5))
        assert np.array_equal(made["modules"][2]["bias"].numpy(), vector[70:])
    with pytest.raises(tm.UsageError, match="for example --opt words=65"):
        tm.lua.define("net.lua", folder=tmp_path)
