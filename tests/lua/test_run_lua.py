"""--run-lua: layers that stay in their author's Lua give what Torch7 gave, forward and backward, with their state."""

from __future__ import annotations

import copy
import gc
import io
import itertools
import pickle
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lupa")

import torch
from lua_layers import LAYERS, assert_close, flat, lua_file, recorded

import torchmigrate as tm
from torchmigrate.base.errors import LimitExceeded
from torchmigrate.cli.main import main
from torchmigrate.lua.folders import Folders
from torchmigrate.lua.layers.kept import converter
from torchmigrate.lua.layers.kept.process import LuaProcess
from torchmigrate.lua.layers.kept.serving import KeptLayer
from torchmigrate.lua.limits import LuaLimits
from torchmigrate.lua.runtime import LuaStopped
from torchmigrate.lua.sandbox import LuaFailed
from torchmigrate.model.recurrent_state import forget

#: Those that are run by default: with parameters, a list of inputs, modules in it.
FAST = ("nn.CosineLinear", "nn.GateFuse", "nn.ShuffledGroups")


class InThisProcess(LuaProcess):
    """The objects of a layer whose Lua, which is no attack, runs in the process of the tests."""

    def __init__(self, layer: tm.LuaObject, files: Iterable[Path], limits: LuaLimits) -> None:
        super().__init__(layer, files, limits)
        stream = io.BytesIO()
        tm.dump(tm.LuaTable([("layer", layer)]), stream)
        limits = LuaLimits(lua_bytes=128 << 20, elements=1 << 24)
        folders = Folders(list(dict.fromkeys(str(Path(file).parent) for file in files)), limits.file_bytes)
        self._numbers = itertools.count(1)
        self._made = False
        self._kept = KeptLayer({"files": [str(file) for file in files]}, folders, limits, stream.getvalue())

    @property
    def runs(self) -> bool:
        return self._made

    def described(self) -> dict[str, Any]:
        return self._kept.described()[0]

    def ask(self, request: dict[str, Any], numbers: tm.LuaTable | None = None) -> Any:
        stream = io.BytesIO()
        tm.dump(numbers if numbers is not None else tm.LuaTable(), stream)
        self._made = True
        request = {**request, "forget": self._forgotten}
        try:
            return self._kept.answer(request, stream.getvalue())[1]
        except LuaStopped as error:
            raise LuaFailed(str(error)) from None


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def defined(lua: Iterable[Path], _limits: object = None, first: Iterable[str] = ()) -> dict[str, Any]:
        return {"my.Layer": None, **dict.fromkeys(LAYERS)}

    from torchmigrate.lua.layers import provider

    monkeypatch.setattr(provider, "converters", defined)
    monkeypatch.setattr(converter, "LuaProcess", InThisProcess)


def converted(value: tm.LuaObject, file: Path) -> tm.Conversion:
    return tm.convert(value, lua=[file], run_lua=[value.typename])


def nested(leaves: list[torch.Tensor], like: Any) -> Any:
    found = iter(leaves)

    def one(value: Any) -> Any:
        return [one(part) for part in value] if isinstance(value, list) else next(found)

    return one(like)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in LAYERS]
)
def test_it_gives_what_torch7_gave(name: str) -> None:
    value = recorded(name)
    conversion = converted(value["module"], lua_file(name))
    module = conversion.module
    assert any("runs its author's Lua" in note for _, note in conversion.notes)
    names = list(module.named_parameters())
    for run in (value, value["second"]):
        given = tm.to_torch(run["input"])
        leaves = [part.clone().requires_grad_(part.is_floating_point()) for part in flat(given)]
        output = module(nested(leaves, given))
        assert_close(output, tm.to_torch(run["output"]))
        if run.get("gradOutput") is None:
            continue
        wanted = [leaf for leaf in leaves if leaf.requires_grad] + [parameter for _, parameter in names]
        pairs = [
            (part, grad)
            for part, grad in zip(flat(output), flat(tm.to_torch(run["gradOutput"])), strict=True)
            if part.requires_grad
        ]
        found = torch.autograd.grad([part for part, _ in pairs], wanted, [grad for _, grad in pairs])
        inputs = flat(tm.to_torch(run["gradInput"]))
        kept = [grad for leaf, grad in zip(leaves, inputs, strict=True) if leaf.requires_grad]
        assert_close(found[: len(kept)], kept)
        if names:
            assert_close(found[len(kept) :], tm.to_torch(run["gradParameters"]))


#: A layer with a state, a parameter, a mode and a branch over numbers: what no class can be written of.
_LAYER = """
    local L = torch.class('my.Layer', 'nn.Module')
    function L:updateOutput(input)
       self.count = (self.count or 0) + 1
       self.output:resizeAs(input):copy(input):mul(self.weight[1])
       if input:max() > 10 then self.output:zero() end
       if self.train then self.output:mul(2) end
       self.output:add(self.count)
       return self.output
    end
    function L:updateGradInput(input, gradOutput)
       self.gradInput:resizeAs(gradOutput):copy(gradOutput):mul(self.weight[1] * (self.train and 2 or 1))
       return self.gradInput
    end
    function L:accGradParameters(input, gradOutput, scale)
       self.gradWeight[1] = self.gradWeight[1] + scale * torch.cmul(input, gradOutput):sum() * (self.train and 2 or 1)
    end
"""


def mine(**fields: Any) -> tm.LuaObject:
    def tensor(*numbers: float) -> tm.Tensor:
        return tm.Tensor.from_numpy(torch.tensor(numbers, dtype=torch.float32).numpy())

    empty = tm.Tensor("torch.FloatTensor", (), (), 1, None)
    own = {"weight": tensor(3.0), "gradWeight": tensor(0.0), "output": empty, "gradInput": empty}
    return tm.LuaObject("my.Layer", tm.LuaTable([*own.items(), ("_type", "torch.FloatTensor"), *fields.items()]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "layer.lua").write_text(_LAYER)
    return tmp_path / "layer.lua"


@pytest.mark.usefixtures("in_this_process")
def test_state_mode_branches_and_training(file: Path) -> None:
    conversion = converted(mine(), file)
    module: Any = conversion.module
    x = torch.tensor([1.0, 2.0])
    assert module(x).tolist() == [4.0, 7.0]
    assert module(x).tolist() == [5.0, 8.0], "it counts its runs"
    assert module(x * 6).tolist() == [3.0, 3.0], "a branch over numbers"
    twin = copy.deepcopy(module)
    assert twin(x).tolist() == module(x).tolist() == [7.0, 10.0], "a copy begins with the state of the first"
    assert twin(x).tolist() == [8.0, 11.0]
    forget(copied := copy.deepcopy(module))
    assert copied(x).tolist() == [4.0, 7.0], "as a new sequence begins"
    module.train()
    output = module(x.requires_grad_())
    assert output.tolist() == [11.0, 17.0]
    output.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [6.0, 6.0]
    assert module.weight.grad.tolist() == [6.0]
    torch.optim.SGD(module.parameters(), lr=0.5).step()
    assert module.weight.tolist() == [0.0]
    assert module(x).tolist() == [6.0, 6.0], "the new weight is taken"
    assert twin.weight.tolist() == [3.0]
    double = copy.deepcopy(module).double().eval()
    assert double(x.double()).dtype == torch.float64
    assert module.half().eval()(x.half()).dtype == torch.float16


@pytest.mark.usefixtures("in_this_process")
def test_what_it_does_in_place_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "layer.lua"
    file.write_text("local L = torch.class('my.Layer', 'nn.Module')\nfunction L:updateOutput(x) return x:add(1) end\n")
    x = torch.tensor([1.0, 2.0])
    assert converted(mine(), file).module(x).tolist() == x.tolist() == [2.0, 3.0]


@pytest.mark.usefixtures("in_this_process")
def test_what_it_refuses(file: Path) -> None:
    module: Any = converted(mine(), file).module
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    first, second = module(x), module(x)
    second.sum().backward()
    with pytest.raises(RuntimeError, match="has run again since"):
        first.sum().backward()
    for way in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="can't be pickled; keep its state_dict"):
            way(module)
    runs = module(torch.zeros(2))
    assert module(torch.empty(3, 4, device="meta")).shape == (3, 4)
    assert module(torch.zeros(2)).tolist() == (runs + 1).tolist(), "sizes leave no trace"
    with pytest.raises(tm.UsageError, match=r"there is no model\.py: my\.Layer runs its Lua"):
        converted(mine(), file).source()
    with pytest.raises(tm.UsageError, match=r"--run-lua my\.Other: the files of --lua define no class"):
        tm.convert(mine(), lua=[file], run_lua=["my.Other"])
    with pytest.raises(tm.UsageError, match="give the file that defines them with --lua"):
        tm.convert(mine(), run_lua=["my.Layer"])


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("function L:updateOutput(x) return x:nothing() end", "layer.lua:.*attempt to call method 'nothing'"),
        ("function L:updateOutput(x) return 3 end", "neither a tensor nor a table"),
        ("function L:updateOutput(x) x:resize(1) return x end", "it changes the size of its input"),
        ("function L:updateOutput(x) return self.inner:forward(x) end", "computes something else in training"),
        ("local qt = require 'qt' function L:updateOutput(x) qt.show(x) return x end", "a package that is not there"),
        ("function L:updateOutput(x) return torch.load('layer.lua') end", "no .t7 files are read here"),
        ("function L:updateOutput(x) return io.open('/etc/passwd'):read() end", "layer.lua"),
        ("function L:updateOutput(x) return x:expand(1e9, 1e9) end", "elements"),
    ],
)
def test_errors_of_its_lua(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "layer.lua"
    file.write_text(f"local L = torch.class('my.Layer', 'nn.Module')\n{text}\n")
    inner = tm.LuaObject("nn.Dropout", tm.LuaTable([("p", 0.5), ("train", True), ("v2", True)]))
    module = converted(mine(inner=inner, modules=tm.LuaTable.from_list([inner])), file).module.train()
    with pytest.raises(RuntimeError, match=f"(?s)my.Layer runs its Lua.*{words}"):
        module(torch.ones(64))


@pytest.mark.slow
def test_a_process_of_its_own(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module: Any = converted(mine(), file).module
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    assert module(x).tolist() == [4.0, 7.0]
    module(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3.0, 3.0]
    with pytest.raises(Exception, match="it can't be traced or exported"):
        torch.export.export(module, (x.detach(),))
    process = module._process._process
    module.close()
    assert process.poll() is not None
    assert module(x).tolist() == [4.0, 7.0], "another process, with the object of the file"
    process = module._process._process
    del module
    gc.collect()
    assert process.poll() is not None, "it ends with the module"

    model = tmp_path / "model.t7"
    tm.dump(mine(), model)
    words = [str(model), "--lua", str(file), "--run-lua", "my.Layer", "--input-shape", "2x3"]
    with pytest.raises(SystemExit) as end:
        main(["convert", *words, "-o", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert end.value.code == 0, said
    assert "onnx not run: my.Layer runs its Lua (--run-lua), which no ONNX file can hold" in said
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert not (tmp_path / "out" / "model.py").exists()
    with pytest.raises(RuntimeError, match=r"convert the \.t7 again with --run-lua"):
        tm.load_converted(tmp_path / "out")(torch.ones(2, 3))
    with pytest.raises(SystemExit) as end:
        main(["verify", *words])
    assert end.value.code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("while true do end", LuaLimits(seconds=60, cpu_seconds=2)),
        ("return pcall(function() while true do end end)", LuaLimits(seconds=60, cpu_seconds=2)),
        ("return ('x'):rep(1e6):find(('x*'):rep(40) .. 'y')", LuaLimits(seconds=20, cpu_seconds=2)),
        ("local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end", LuaLimits(lua_bytes=64 << 20, seconds=60)),
    ],
)
def test_attacks_through_it(tmp_path: Path, text: str, limits: LuaLimits) -> None:
    file = tmp_path / "layer.lua"
    file.write_text(f"local L = torch.class('my.Layer', 'nn.Module')\nfunction L:updateOutput(x) {text} end\n")
    process = LuaProcess(mine(), [file], replace(limits, seconds=300))
    process.described()  # which starts it, and takes long on a busy machine
    process._limits = limits
    one = tm.Tensor.from_numpy(torch.ones(2).numpy())
    task = tm.LuaTable([("input", one), ("parameters", tm.LuaTable.from_list([]))])
    request = {"what": "forward", "object": 1, "kind": "Float", "training": False}
    with pytest.raises((LuaFailed, LimitExceeded)):
        process.ask(request, task)
    if not process.runs:
        with pytest.raises(LimitExceeded, match="was stopped before"):
            process.ask(request, task)
    process.close()
