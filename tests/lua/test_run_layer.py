"""A layer that only its author's Lua defines, run in that Lua, gives what Torch7 gave."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from lua_layers import LAYERS, answered, assert_close, lua_file, recorded

import torchmigrate as tm

pytest.importorskip("lupa")

from torchmigrate.lua import LuaFailed, run_layer
from torchmigrate.lua.runtime import LuaStopped


@pytest.mark.parametrize("name", LAYERS)
def test_it_gives_what_torch7_gave(name: str) -> None:
    value = recorded(name)
    runs = [value, value["second"]]
    task = tm.LuaTable([("layer", value["module"]), ("runs", tm.LuaTable.from_list(runs))])
    _, results = answered("run", lua_file(name), task)
    for run, wanted in zip(results.list(), runs, strict=True):
        for field in ("output", "gradInput", "gradParameters"):
            if wanted.get(field) is not None:
                assert_close(tm.to_torch(run[field]), tm.to_torch(wanted[field]))


@pytest.mark.slow
def test_a_process_of_its_own_gives_it() -> None:
    value = recorded("nn.CosineLinear")
    given, grad = tm.to_torch(value["input"]), tm.to_torch(value["gradOutput"])
    found = run_layer(value["module"], given, grad, lua=[lua_file("nn.CosineLinear")])
    assert_close(found.output, tm.to_torch(value["output"]))
    assert_close(found.grad_input, tm.to_torch(value["gradInput"]))
    assert_close(found.grad_parameters, tm.to_torch(value["gradParameters"]))
    forward_only = run_layer(value["module"], given, lua=[lua_file("nn.CosineLinear")])
    assert_close(forward_only.output, tm.to_torch(value["output"]))
    assert forward_only.grad_input is None
    with pytest.raises(LuaFailed, match=r"define no class nn\.CosineLinear; they define KMaxPool"):
        run_layer(value["module"], given, lua=[lua_file("KMaxPool")])
    with pytest.raises(tm.UsageError, match=r"There is no Lua file .*nothing\.lua"):
        run_layer(value["module"], given, lua=["nothing.lua"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("local L = torch.class('my.L', 'nn.Module')", "my.L runs the updateOutput of a class of Torch7"),
        (
            "local L = torch.class('my.L', 'nn.Module') function L:updateOutput(x) return x:nothing() end",
            "layer.lua:1: attempt to call method 'nothing'",
        ),
        (
            "local L = torch.class('my.L', 'nn.Module') function nn.Linear:updateOutput(x) return x end",
            "the files put a method of their own in place of nn.Linear.updateOutput",
        ),
        ("local L = torch.class('my.Other', 'nn.Module')", "define no class my.L; they define my.Other"),
        ("os.execute('id')", "os.execute is closed"),
        (
            "local L = torch.class('my.L', 'nn.Module') function L:updateOutput(x) self:updateParameters(1) end",
            "my.L:updateParameters changes parameters",
        ),
    ],
)
def test_what_it_can_not_run(tmp_path: Path, text: str, message: str) -> None:
    if message.startswith("my.L runs"):
        text += " function L:updateOutput(x) return nn.Module.updateOutput(self, x) end"
    (tmp_path / "layer.lua").write_text(text)
    layer = tm.LuaObject("my.L", tm.LuaTable([("train", False)]))
    given = tm.LuaTable([("input", tm.Tensor.from_numpy(torch.ones(2, 3).numpy()))])
    task = tm.LuaTable([("layer", layer), ("runs", tm.LuaTable.from_list([given]))])
    with pytest.raises(LuaStopped, match=re.escape(message)):
        answered("run", tmp_path / "layer.lua", task)


def test_types_of_the_gpu_are_those_of_the_cpu(tmp_path: Path) -> None:
    text = "local L = torch.class('my.L', 'nn.Module') function L:updateOutput(x) return torch.add(x, self.bias) end"
    (tmp_path / "layer.lua").write_text(text)
    bias = tm.Tensor("torch.CudaTensor", (3,), (1,), 1, tm.Storage("torch.CudaStorage", torch.arange(3.0).numpy()))
    layer = tm.LuaObject("my.L", tm.LuaTable([("_type", "torch.CudaTensor"), ("bias", bias)]))
    given = tm.LuaTable([("input", tm.Tensor.from_numpy(torch.ones(3).numpy()))])
    task = tm.LuaTable([("layer", layer), ("runs", tm.LuaTable.from_list([given]))])
    _, results = answered("run", tmp_path / "layer.lua", task)
    assert_close(tm.to_torch(results[1.0]["output"]), torch.tensor([1.0, 2.0, 3.0]))
