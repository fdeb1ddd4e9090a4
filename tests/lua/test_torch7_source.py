"""The user's own checkouts of Torch7's packages make the layers, in place of the product's constructors."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lupa")

import numpy as np
import torch
from lua_runtimes import evaluated

import torchmigrate as tm
from torchmigrate.cli.main import main
from torchmigrate.lua.folders import Folders
from torchmigrate.lua.limits import LuaLimits
from torchmigrate.lua.runtime import LuaStopped, Runtime

# A package of this test's own words, laid out as Torch7's are.
_NN = {
    "nn/init.lua": """
        require('torch')
        nn = {}
        require('libnn')
        require('nn.THNN')
        require('nn.test')
        require('nn.Module')
        torch.include('nn', 'Linear.lua')
        torch.include('nn', 'testing/all.lua')
        return nn
    """,
    "nn/Module.lua": """
        local Module = torch.class('nn.Module')
        function Module:__init()
           self.output, self.gradInput = torch.Tensor(), torch.Tensor()
        end
        function Module:parameters()
           if self.weight then return {self.weight, self.bias}, {self.gradWeight, self.gradBias} end
        end
        function Module:listModules()
           local list = {self}
           for _, module in ipairs(self.modules or {}) do
              for _, below in ipairs(module:listModules()) do table.insert(list, below) end
           end
           return list
        end
        torch.class('nn.Criterion')
        local Container = torch.class('nn.Container', 'nn.Module')
        function Container:__init() nn.Module.__init(self) self.modules = {} end
        local Sequential = torch.class('nn.Sequential', 'nn.Container')
        function Container:add(module) table.insert(self.modules, module) return self end
        function Sequential:parameters()
           local found = {}
           for _, module in ipairs(self.modules) do
              for _, tensor in ipairs(module:parameters() or {}) do table.insert(found, tensor) end
           end
           return found, found
        end
    """,
    "nn/Linear.lua": """
        local THNN = require 'nn.THNN'
        local Linear, parent = torch.class('nn.Linear', 'nn.Module')
        function Linear:__init(inputs, outputs)
           parent.__init(self)
           self.weight, self.bias = torch.Tensor(outputs, inputs), torch.Tensor(outputs)
           self.gradWeight, self.gradBias = torch.Tensor(outputs, inputs), torch.Tensor(outputs)
           self.weight:fill(torch.sqrt(4))
           self.bias:fill(1)
           self.of_the_checkout = true
        end
        function Linear:updateOutput(input)
           input.THNN.Linear_updateOutput(input:cdata(), self.weight:cdata())
        end
    """,
    "nn/test.lua": "error('tests are not run')",
    "nn/testing/all.lua": "error('tests are not run')",
}


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    written(tmp_path / "sources", _NN)
    return written(tmp_path / "project", {"model.lua": "return nn.Sequential():add(nn.Linear(3, 2))\n"})


def counted() -> tm.Tensor:
    """A flat vector of the numbers from 0 to 7."""
    numbers = np.arange(8, dtype=np.float32)
    return tm.Tensor("torch.FloatTensor", (8,), (1,), 1, tm.Storage("torch.FloatStorage", numbers))


def checked_out(project: Path, folder: str = "sources") -> Runtime:
    """A Lua with the packages of a checkout, in the process of the tests."""
    limits = LuaLimits(lua_bytes=128 << 20, elements=1 << 24)
    lua = Runtime(Folders([str(project)], limits.file_bytes, str(project.parent / folder)), limits)
    for name in ("nn", "nngraph"):
        lua.guarded(lua.host.require, name)
    return lua


@pytest.mark.parametrize("folder", ["sources", "sources/nn"])
def test_its_classes_are_taken(project: Path, folder: str) -> None:
    (model,) = evaluated(checked_out(project, folder), "return dofile 'model.lua'")
    linear = model["modules"][1]
    assert linear["of_the_checkout"] is True
    assert linear["weight"].numpy().tolist() == [[2, 2, 2], [2, 2, 2]]
    assert checked_out(project, folder).own_classes == []


def test_a_package_of_the_product_stands_on_it(project: Path) -> None:
    text = "local i = nn.Linear(3, 3)() return nn.gModule({i}, {nn.Linear(3, 2)(i)})"
    (model,) = evaluated(checked_out(project), text)
    assert [module["of_the_checkout"] for module in model["modules"].list()] == [True, True]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nn.Tanh()", "field 'Tanh'"),
        (
            "nn.Linear(3, 2):updateOutput(torch.zeros(3))",
            "torch7-source/nn/Linear.lua:13: attempt to index field 'THNN'",
        ),
        ("require 'secret'", "module 'secret' not found"),
        ("require 'nn.secret'", "module 'nn.secret' not found"),
        ("require 'nn...secret'", r"module 'nn\.\.\.secret' not found"),
        ("dofile 'torch7-source/../project/model.lua'", "cannot open torch7-source/"),
        ("dofile 'nn/Linear.lua'", "cannot open nn/Linear.lua"),
    ],
)
def test_it_is_refused(project: Path, text: str, words: str) -> None:
    written(project.parent / "sources", {"secret.lua": "return 1", "sys/init.lua": "error('not this one')"})
    lua = checked_out(project)
    lua.guarded(lua.host.require, "sys")
    with pytest.raises(LuaStopped, match=words):
        evaluated(lua, text)


def test_they_are_filled_and_converted(project: Path) -> None:
    model = tm.lua.define("model.lua", folder=project, torch7_source=project.parent / "sources", weights=counted())
    module = tm.convert(model).module
    given = torch.tensor([[1.0, 2.0, 3.0]])
    assert module(given).tolist() == [[0 * 1 + 1 * 2 + 2 * 3 + 6, 3 * 1 + 4 * 2 + 5 * 3 + 7]]


@pytest.mark.slow
def test_the_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tm.dump(counted(), project / "params.t7")
    words = ["convert", project / "model.lua", "--weights", project / "params.t7", "--torch7-source"]
    for folder, code in (("sources", 0), ("none", 2)):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in (*words, project.parent / folder, "-o", project.parent / f"out_{folder}")])
        assert end.value.code == code
    assert (project.parent / "out_sources" / "model.py").is_file()
    assert "none" in capsys.readouterr().err
    with pytest.raises(tm.UsageError, match="none is no folder"):
        tm.lua.define("model.lua", folder=project, torch7_source=project.parent / "none")
