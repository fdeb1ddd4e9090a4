"""Torch7's own Lua as a witness: a model of a file runs in the Lua of a checkout, with kernels of PyTorch."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lupa")

import golden
import numpy as np
import torch

import torchmigrate as tm
from torchmigrate.base.errors import UsageError
from torchmigrate.cli.main import main
from torchmigrate.lua import child
from torchmigrate.lua.folders import Folders
from torchmigrate.lua.limits import LuaLimits
from torchmigrate.lua.runtime import LuaStopped
from torchmigrate.lua.sandbox import LuaFailed
from torchmigrate.lua.witness import run as witness_run
from torchmigrate.lua.witness.answer import start
from torchmigrate.parity.references.choose import choose_reference

#: A package of this test's own words, written as Torch7's nn is: modules own one output, kernels are THNN's.
NN = {
    "nn/init.lua": """
        require('torch')
        nn = {}
        require('libnn')
        require('nn.THNN')
        require('nn.Module')
        return nn
    """,
    "nn/Module.lua": """
        local THNN = require 'nn.THNN'
        local Module = torch.class('nn.Module')
        function Module:__init() self.output = torch.Tensor() end
        function Module:read(file)
           for k, v in pairs(file:readObject()) do self[k] = v end
           self.was_read = (self.was_read or 0) + 1
        end
        function Module:forward(input) return self:updateOutput(input) end
        function Module:updateOutput(input) return self.output end
        function Module:parameters() if self.weight then return {self.weight, self.bias}, {} end end
        function Module:evaluate()
           self.train = false
           for _, m in ipairs(self.modules or {}) do m:evaluate() end
        end
        torch.class('nn.Container', 'nn.Module')
        local Sequential = torch.class('nn.Sequential', 'nn.Container')
        function Sequential:updateOutput(input)
           for _, m in ipairs(self.modules) do input = m:updateOutput(input) end
           self.output = input
           return input
        end
        local Sigmoid = torch.class('nn.Sigmoid', 'nn.Module')
        function Sigmoid:updateOutput(input)
           input.THNN.Sigmoid_updateOutput(input:cdata(), self.output:cdata())
           return self.output
        end
        local Threshold = torch.class('nn.Threshold', 'nn.Module')
        function Threshold:updateOutput(input)
           assert(self.was_read == 1)
           local x, y = input:cdata(), self.output:cdata()
           THNN.runKernel('Threshold_updateOutput', input:type(), x, y, self.threshold, self.val, self.inplace)
           return self.output
        end
        local Linear = torch.class('nn.Linear', 'nn.Module')
        function Linear:updateOutput(input)
           self.output:resize(input:size(1), self.weight:size(1))
           self.output:mm(input, self.weight:t()):add(self.bias:view(1, -1):expandAs(self.output))
           return self.output
        end
        local ConcatTable = torch.class('nn.ConcatTable', 'nn.Container')
        function ConcatTable:updateOutput(input)
           self.output = {}
           for i, m in ipairs(self.modules) do self.output[i] = m:updateOutput(input) end
           return self.output
        end
        local CAddTable = torch.class('nn.CAddTable', 'nn.Module')
        function CAddTable:updateOutput(input)
           self.output:resizeAs(input[1]):copy(input[1]):add(input[2])
           return self.output
        end
        local Faulty = torch.class('nn.Tanh', 'nn.Module')
        function Faulty:updateOutput(input)
           input.THNN.Tahn_updateOutput(input:cdata(), self.output:cdata())
           return self.output
        end
        local Absent = torch.class('nn.Abs', 'nn.Module')
        local missing = require 'libnn'
        function Absent:updateOutput(input)
           missing.abs(input, self.output)
           return self.output
        end
    """,
}


def tensor(*size: int, seed: int = 0) -> tm.Tensor:
    numbers = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    return tm.Tensor.from_numpy(numbers)


def layer(name: str, *modules: tm.LuaObject, **fields: Any) -> tm.LuaObject:
    if modules:
        fields["modules"] = tm.LuaTable.from_list(list(modules))
    empty = tm.Tensor("torch.FloatTensor", (), (), 1, None)
    return tm.LuaObject(name, tm.LuaTable([("output", empty), ("_type", "torch.FloatTensor"), *fields.items()]))


def linear(seed: int, **fields: Any) -> tm.LuaObject:
    return layer("nn.Linear", weight=tensor(4, 4, seed=seed), bias=tensor(4, seed=seed + 9), **fields)


def model() -> tm.LuaObject:
    """One module object twice: the second call overwrites the first result, which is read afterwards."""
    twice = linear(1)
    both = layer("nn.ConcatTable", twice, layer("nn.Sequential", layer("nn.Sigmoid"), twice))
    rest = layer("nn.Threshold", threshold=0.0, val=0.0, inplace=True)
    return layer("nn.Sequential", both, layer("nn.CAddTable"), rest, linear(2))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in NN.items():
        (tmp_path / "torch" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "torch" / name).write_text(text)
    return tmp_path / "torch"


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Lua of these tests, which is no attack, runs in their process."""

    def run(job: Mapping[str, Any], _limits: LuaLimits, given: bytes = b"") -> tuple[dict[str, Any], Any]:
        said, result = child.answer(dict(job), LuaLimits(lua_bytes=128 << 20, elements=1 << 24), given)
        if "error" in said:
            raise LuaFailed(said["error"])
        return said, tm.load(io.BytesIO(result))

    monkeypatch.setattr(witness_run, "run", run)


@pytest.mark.usefixtures("in_this_process")
def test_what_it_answers(checkout: Path) -> None:
    conversion = tm.convert(model())
    report = tm.verify(conversion, reference="lua", torch7_source=checkout, input_shape="3x4")
    assert report
    assert not report.proven
    assert (report.verdict.title, report.verdict.level) == ("NOT COMPARED", "rounding")
    assert report.summary().startswith("NOT COMPARED against Torch7's own Lua, with PyTorch's kernels (torch): ")
    assert "not what Torch7's kernels compute" in report.summary()
    assert "shows rounding" not in report.summary()
    assert "a kernel of PyTorch that computes something else" in report.verdict.meaning
    assert "--torch7-source torch" in report.command
    assert "--reference lua" in report.command
    compared = {run.path for run in report.backends[0].layers}
    assert compared >= {"1.1", "2", "3", "4"}
    # what was overwritten is read as it was overwritten: both halves of the sum are the second result
    weight, bias = (tm.to_torch(model()["modules"][1]["modules"][1][name]) for name in ("weight", "bias"))
    given = tm.to_torch(tensor(3, 4, seed=5))
    second = torch.sigmoid(given) @ weight.t() + bias
    found = tm.verify(conversion, reference="lua", torch7_source=checkout, input=given).reference
    place = next(i for i, record in enumerate(conversion.layers) if record.path == "2")
    assert torch.allclose(found.layers[place, 1], 2 * second, atol=1e-6)
    assert found.input is not given


@pytest.mark.usefixtures("in_this_process")
def test_a_wrong_conversion_is_seen(checkout: Path) -> None:
    conversion = tm.convert(model())
    with torch.no_grad():
        conversion["4"].bias[0] += 0.01
    report = tm.verify(conversion, reference="lua", torch7_source=checkout, input_shape="3x4")
    assert not report
    assert report.verdict.level == "failed"
    assert "The conversion is wrong, or the checkouts are of another time than the file" in report.verdict.meaning
    diverging = report.backends[0].diverging
    assert diverging is not None
    assert diverging.path == "4"


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_its_rank(checkout: Path) -> None:
    conversion = tm.convert(model())
    assert tm.verify(conversion, torch7_source=checkout, input_shape="3x4").reference.kind == "lua"
    assert tm.verify(conversion, input_shape="3x4").reference.kind == "self"
    faulty = tm.convert(layer("nn.Sequential", linear(1), layer("nn.Tanh")))
    report = tm.verify(faulty, torch7_source=checkout)
    assert report.reference.kind == "self"
    assert any("did not run the model" in limit and "Tahn_updateOutput" in limit for limit in report.verdict.limits)
    recorded = tm.convert(golden.MODELS / "lenet_mnist.t7")
    assert choose_reference(recorded, None).kind in ("recorded", "self")


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("last", "words"),
    [
        (layer("nn.Tanh"), "the function Tahn_updateOutput in C has no kernel of PyTorch here"),
        (layer("nn.Abs"), "a package that is not there is used"),
        (
            layer("nn.ReLU6"),
            "the class nn.ReLU6, which neither the checkouts of --torch7-source nor the files of --lua",
        ),
        (
            layer("nn.Sigmoid", updateOutput=tm.LuaFunction(b"\x1bLJ", None)),
            "the file holds this function of Lua, whose bytecode is not run",
        ),
    ],
    ids=["kernel", "absent", "class", "function"],
)
def test_why_it_does_not_run(checkout: Path, last: tm.LuaObject, words: str) -> None:
    whole = layer("nn.Sequential", linear(1), last)
    conversion = tm.convert(whole, allow_unsupported=True)
    with pytest.raises(UsageError, match=f"Torch7's own Lua did not run the model: .*{words}"):
        tm.verify(conversion, reference="lua", torch7_source=checkout, input_shape="3x4")


@pytest.mark.usefixtures("in_this_process")
def test_classes_of_the_author_run_too(checkout: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.lua"
    file.write_text("""
        local Twice = torch.class('my.Twice', 'nn.Module')
        function Twice:updateOutput(input)
           self.output:resizeAs(input):copy(input):mul(2)
           return self.output
        end
    """)
    conversion = tm.convert(layer("nn.Sequential", linear(1), layer("my.Twice")), allow_unsupported=True)
    conversion.refusals.clear()
    given = tm.to_torch(tensor(3, 4))
    saved = witness_run.run_model(
        conversion.layers[0].object, tensor(3, 4), _script(), torch7_source=checkout, lua=[file]
    )
    weight, bias = (tm.to_torch(linear(1)[name]) for name in ("weight", "bias"))
    assert torch.allclose(tm.to_torch(saved["output"]), 2 * (given @ weight.t() + bias), atol=1e-6)


def _script() -> str:
    from torchmigrate.parity.references.live import script

    return script()


def test_where_it_can_not_be_had(tmp_path: Path, checkout: Path) -> None:
    conversion = tm.convert(model())
    for reference, source, words in (
        ("lua", None, "say with --torch7-source which folder holds checkouts"),
        ("self", checkout, "it goes with --reference lua"),
        ("lua", tmp_path / "none", "is no folder"),
    ):
        with pytest.raises(UsageError, match=words):
            tm.verify(conversion, reference=reference, torch7_source=source, input_shape="3x4")
    with pytest.raises(LuaStopped, match="there is no checkout of Torch7's nn"):
        start(Folders([], 1 << 20, str(tmp_path)), LuaLimits())


@pytest.mark.parametrize(
    "text",
    [
        "io.popen('id')",
        "assert(io.open('/etc/passwd'))",
        "require('......etc.passwd')",
        "require 'cudnn'",
        "dofile 'torch7-source/../../../../../../etc/passwd'",
        "torch.load('/etc/passwd')",
        "require('ffi').load('libc.so.6')",
        "require('ffi').C.system('id')",
        "debug.getregistry()",
        "torch.FloatTensor(3):cdata().value",
        "torch.Tensor(1e12)",
        "return python",
        "THNN.kernels = nil return K.no_such_kernel",
        "K.SpatialConvolutionMM_updateOutput()",
        "K.SpatialMaxUnpooling_updateOutput(torch.ones(1, 1, 1), torch.Tensor(), torch.LongTensor{{{99}}}, 2, 2)",
        pytest.param(
            "K.SpatialUpSamplingNearest_updateOutput(torch.ones(1, 9, 9), torch.Tensor(), 1e6)", marks=pytest.mark.slow
        ),
        "K.LookupTable_renorm(torch.LongTensor{99}, torch.ones(2, 2), 1, 2)",
        "K.SpatialReplicationPadding_updateOutput(torch.ones(1, 2, 2), torch.Tensor(), 1e9, 1e9, 0, 0)",
        pytest.param("while true do end", marks=pytest.mark.slow),
    ],
)
def test_attacks_through_it(checkout: Path, text: str) -> None:
    limits = LuaLimits(lua_bytes=32 << 20, elements=1 << 20, cpu_seconds=1 if text.startswith("while") else 20)
    lua = start(Folders([], limits.file_bytes, str(checkout)), limits)
    lua.guarded(lua.host.require, "nn")
    lua.text("K = torch.FloatTensor(1).THNN", "kernels")
    if text == "return python":
        assert lua.text(text, "attack") is None
        return
    with pytest.raises(LuaStopped):
        lua.text(text, "attack")


@pytest.mark.slow
def test_the_commands(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a process of its own, as users have it."""
    file = tmp_path / "model.t7"
    tm.dump(model(), file)
    given = ["--reference", "lua", "--torch7-source", str(checkout), "--input-shape", "3x4"]
    for words in (
        ["verify", str(file), *given],
        ["convert", str(file), "-o", str(tmp_path / "out"), "--no-onnx", *given],
    ):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        assert "NOT COMPARED against Torch7's own Lua, with PyTorch's kernels (torch)" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["verify", str(tmp_path / "out"), *given])
    assert end.value.code == 2
    assert "give that file, not a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["verify", str(file), *given, "--require-proof"])
    assert end.value.code == 1
