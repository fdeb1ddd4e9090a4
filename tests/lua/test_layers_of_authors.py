"""Kinds of layers that authors wrote, each in a few lines of Lua: loops, losses, inherited passes, modules inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import torchmigrate as tm
from torchmigrate.model.convert import convert_model

pytest.importorskip("lupa")

from test_sandbox import test_it_is_refused as REFUSED

from torchmigrate.base.errors import LimitExceeded
from torchmigrate.lua.folders import Folders
from torchmigrate.lua.layers import provider
from torchmigrate.lua.layers.classes import texts_of
from torchmigrate.lua.layers.session import Session, of_results
from torchmigrate.lua.limits import LuaLimits
from torchmigrate.lua.result import CantLeave
from torchmigrate.lua.runtime import LuaStopped

pytestmark = pytest.mark.usefixtures("in_this_process")


def tensor(*size: int, seed: int = 1) -> tm.Tensor:
    return tm.Tensor.from_numpy(torch.randn(size, generator=torch.Generator().manual_seed(seed)).numpy())


def converted(folder: Path, lua: str, fields: dict[str, Any], typename: str = "my.L") -> Any:
    (folder / "layer.lua").write_text(lua)
    layer = tm.LuaObject(typename, tm.LuaTable(list(fields.items())))
    return convert_model(layer, provided=provider.converters([folder / "layer.lua"]))


def text_of(conv: Any) -> str:
    (text,) = texts_of(conv.module).values()
    return text


RECURRENT = """local L = torch.class('my.L', 'nn.Module')
function L:parameters() return {self.weight, self.inner}, {self.gradWeight, self.gradInner} end
function L:updateOutput(x)
   local steps, batch = x:size(1), x:size(2)
   self.output = x.new(steps, batch, 4)
   local h, c = x.new(batch, 4):zero(), x.new(batch, 4):fill(0.5)
   for %s do
      local a = torch.mm(x[t], self.weight) + torch.mm(h, self.inner)
      c = torch.cmul(c, torch.sigmoid(a)) + h
      h = torch.tanh(c)
      self.output[t]:copy(h)
   end
   return self.output
end"""


@pytest.mark.slow
@pytest.mark.parametrize("order", ["t = 1, steps", "t = steps, 1, -1"])
def test_a_loop_over_time_is_a_loop_of_the_class(tmp_path: Path, order: str) -> None:
    fields = {
        "weight": tensor(3, 4), "inner": tensor(4, 4, seed=2), "gradWeight": tensor(3, 4), "gradInner": tensor(4, 4),
        "gradInput": tensor(5, 2, 3),
    }  # fmt: skip
    conv = converted(tmp_path, RECURRENT % order, fields)
    assert "for i in range(x.shape[0]):" in text_of(conv)
    x = torch.randn(7, 3, 3, generator=torch.Generator().manual_seed(3))
    weight, inner = (tm.to_torch(fields[name]) for name in ("weight", "inner"))
    h, c, wanted = torch.zeros(3, 4), torch.full((3, 4), 0.5), torch.zeros(7, 3, 4)
    for t in range(7) if order.startswith("t = 1") else reversed(range(7)):
        c = c * torch.sigmoid(x[t] @ weight + h @ inner) + h
        h = torch.tanh(c)
        wanted[t] = h
    assert torch.allclose(conv.module(x), wanted, atol=1e-5)
    assert [name for name, _ in conv.module.named_parameters()] == ["weight", "inner"]


INHERITED = """local L, parent = torch.class('my.L', 'nn.Linear')
function L:updateOutput(x)
   parent.updateOutput(self, x)
   self.output:mul(self.factor)
   return self.output
end
function L:updateGradInput(x, g)
   self.scaled = torch.mul(g, self.factor)
   return parent.updateGradInput(self, x, self.scaled)
end
function L:accGradParameters(x, g, scale) parent.accGradParameters(self, x, self.scaled, %s) end"""


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["scale", "0.5 * scale"])
def test_passes_of_a_class_of_torch7_that_it_inherits_from(tmp_path: Path, scale: str) -> None:
    fields = {
        "weight": tensor(3, 4), "bias": tensor(3, seed=2), "gradWeight": tensor(3, 4), "gradBias": tensor(3),
        "factor": 2.5, "gradInput": tensor(5, 4),
    }  # fmt: skip
    conv = converted(tmp_path, INHERITED % scale, fields)
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(3)).requires_grad_()
    weight, bias = tm.to_torch(fields["weight"]), tm.to_torch(fields["bias"])
    output = conv.module(x)
    assert torch.allclose(output, (x @ weight.t() + bias) * 2.5, atol=1e-5)
    output.sum().backward()
    assert torch.allclose(x.grad, 2.5 * weight.sum(0).expand(6, 4), atol=1e-5)
    share = 1.0 if scale == "scale" else 0.5
    assert torch.allclose(conv.module.weight.grad, share * 2.5 * x.detach().sum(0).expand(3, 4), atol=1e-4)
    assert ("autograd.Function" in text_of(conv)) is (share != 1)


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["torch.mul(d, 2 / x:nElement())", "torch.sign(d)"])
def test_a_loss_becomes_a_loss(tmp_path: Path, gradient: str) -> None:
    lua = f"""local L = torch.class('my.L', 'nn.Criterion')
    function L:updateOutput(x, t)
       local d = torch.add(x, -1, t)
       self.output = d:pow(2):sum() / x:nElement() + 0.25
       return self.output
    end
    function L:updateGradInput(x, t)
       local d = torch.add(x, -1, t)
       self.gradInput = {gradient}
       return self.gradInput
    end"""
    conv = converted(tmp_path, lua, {"gradInput": tensor(3, 4), "output": 0.0})
    x, t = torch.randn(3, 5), torch.randn(3, 5)
    x.requires_grad_()
    assert conv.is_criterion
    loss = conv.module(x, t)
    assert torch.allclose(loss, ((x - t) ** 2).mean() + 0.25)
    (loss * 3).backward()
    own = 3 * (x - t).detach().sign() if "sign" in gradient else 6 * (x - t).detach() / 15
    assert torch.allclose(x.grad, own, atol=1e-5)


@pytest.mark.slow
def test_the_gradient_of_a_loss_inside_is_added(tmp_path: Path) -> None:
    lua = """local L = torch.class('my.L', 'nn.Module')
    function L:updateOutput(x)
       self.loss = self.crit:forward(x, self.target) * self.strength
       self.output = x
       return self.output
    end
    function L:updateGradInput(x, g)
       self.gradInput = self.crit:backward(x, self.target):clone():mul(self.strength):add(g)
       return self.gradInput
    end"""
    criterion = tm.LuaObject("nn.MSECriterion", tm.LuaTable([("sizeAverage", True), ("gradInput", tensor(3, 4))]))
    target = tensor(3, 4, seed=5)
    conv = converted(tmp_path, lua, {"crit": criterion, "target": target, "strength": 3.0, "gradInput": tensor(3, 4)})
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(6)).requires_grad_()
    output = conv.module(x)
    assert torch.equal(output, x)
    output.sum().backward()
    assert torch.allclose(x.grad, 1 + 6 * (x - tm.to_torch(target)).detach() / 12, atol=1e-5)


@pytest.mark.slow
def test_a_module_that_is_made_while_it_runs(tmp_path: Path) -> None:
    lua = """local L = torch.class('my.L', 'nn.Module')
    function L:updateOutput(x)
       local n, c = x:size(1), x:size(2)
       local norm = nn.SpatialBatchNormalization(n * c, 1e-3)
       norm.weight:copy(torch.repeatTensor(self.scale, n))
       norm.bias:zero()
       norm:training()
       self.output = norm:forward(x:view(1, n * c, x:size(3), x:size(4))):viewAs(x)
       return self.output
    end"""
    scale = tensor(3)
    conv = converted(tmp_path, lua, {"scale": scale, "gradInput": tensor(2, 3, 4, 5)})
    x = torch.randn(4, 3, 5, 6)
    # in training, Torch7 passes a batch of one through the running statistics, which are 0 and 1 in a new module
    wanted = x * tm.to_torch(scale).view(3, 1, 1) / (1 + 1e-3) ** 0.5
    assert torch.allclose(conv.module(x), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "if x:sum() == 3 then return x:clone() end return torch.add(x, 1)",
            r"lua:2: .* where it compares them",
        ),
        ("if x:sum() > 3 then return x:clone() end return torch.add(x, 1)", "depends on the numbers of its input"),
        ("if 3 <= x:max() then return x:clone() end return torch.add(x, 1)", "depends on the numbers of its input"),
        ("local t = {} for i = 1, x:max() do t[i] = x end return x:clone()", "'for' limit must be a number"),
        ("return torch.add(x, #(x:mean() .. ''))", "depends on the numbers of its input"),
        ("return x:narrow(1, 1, x:max())", "depends on the numbers of its input"),
        ("return torch.mul(x, x:select(1, x:max())[1])", "depends on the numbers of its input"),
        ("return x:new{x:max()}", "depends on the numbers of its input"),
    ],
)
def test_a_number_of_its_input_decides_nothing(tmp_path: Path, body: str, reason: str) -> None:
    lua = f"local L = torch.class('my.L', 'nn.Module') function L:updateOutput(x)\n{body} end"
    with pytest.raises(tm.UnsupportedLayers, match=reason):
        converted(tmp_path, lua, {"gradInput": tensor(3, 4)})


def test_lua_that_is_to_come_first_and_files_that_ask_for_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "base.lua").write_text("BASE = 0.25")
    (folder / "layer.lua").write_text(
        "require 'parts.base' torch.class('nn.Tanh2', 'nn.Module').updateOutput = function(self, x)\n"
        "return torch.mul(x, BASE) end"
    )
    files = [folder / "layer.lua", folder / "base.lua"]
    layer = tm.LuaObject("nn.Tanh2", tm.LuaTable([("gradInput", tensor(3, 4))]))
    x = torch.randn(2, 4)
    assert torch.equal(convert_model(layer, provided=provider.converters(files)).module(x), x * 0.25)
    with pytest.raises(tm.UsageError, match=r"No Lua file that was given defines my\.Other; they define nn\.Tanh2"):
        provider.converters(files, first=["my.Other"])


def run_once(folder: Path) -> None:
    limits = LuaLimits(lua_bytes=32 << 20, elements=1 << 24, cpu_seconds=20)
    session = Session([str(folder / "layer.lua")], Folders([str(folder)], 1 << 20), limits)
    made = session.object(tm.LuaObject("my.L", tm.LuaTable()))
    of_results(session, session.output(made, session.value(tensor(3, 4))))


@pytest.mark.slow
@pytest.mark.parametrize("where", ["the file", "updateOutput"])
def test_attacks_of_a_definition_are_refused_in_a_layer_too(tmp_path: Path, where: str) -> None:
    for text in REFUSED.pytestmark[0].args[1]:
        lines = ("", text) if where == "updateOutput" else (text, "return x")
        (tmp_path / "layer.lua").write_text(
            f"local L = torch.class('my.L', 'nn.Module')\n{lines[0]}\nfunction L:updateOutput(x)\n{lines[1]}\nend"
        )
        with pytest.raises((LuaStopped, CantLeave, LimitExceeded)):
            run_once(tmp_path)


BOXES = """local L = torch.class('my.L', 'nn.Module')
function L:__init() self.gradInput = {torch.Tensor(), torch.Tensor()} end
function L:updateOutput(input)
   local a, b = input[1], input[2]
   self.output:resizeAs(b)
   for i = 1, 4 do self.output[{{}, i}]:add(b[{{}, i}], -i, a[{{}, i}]) end
   return self.output
end"""


def test_sizes_at_which_a_part_of_the_output_is_not_written_are_not_taken(tmp_path: Path) -> None:
    empty = tm.Tensor.from_numpy(torch.ones(0).numpy())
    conv = converted(tmp_path, BOXES, {"gradInput": tm.LuaTable.from_list([empty, empty]), "output": empty})
    one, other = torch.randn(3, 4), torch.randn(3, 4)
    assert torch.allclose(conv.module([one, other]), other - torch.tensor([1.0, 2, 3, 4]) * one)
    with pytest.raises(ValueError, match="is known for inputs of the sizes"):
        conv.module([torch.randn(3, 5), torch.randn(3, 5)])


ROWS_IF_ANY = """local L = torch.class('my.L', 'nn.Module')
function L:updateOutput(input)
   if input[2]:nElement() == 0 then self.output = input[1]
   else self.output = input[1][{{1, input[2]:size(1)}}] end
   return self.output
end"""


@pytest.mark.slow
def test_an_empty_tensor_of_a_list_is_a_kind_of_its_own(tmp_path: Path) -> None:
    last = tm.LuaTable.from_list([tensor(6, 3), tensor(4, 2)])
    conv = converted(tmp_path, ROWS_IF_ANY, {"gradInput": last})
    x = torch.randn(6, 3)
    assert torch.equal(conv.module([x, torch.ones(2, 5)]), x[:2])
    assert torch.equal(conv.module([x, torch.ones(0)]), x)
    assert torch.equal(conv.module([x, torch.ones(0, 5)]), x)
    assert "if x1.dim() == 2 and x2.numel() == 0" in text_of(conv)


VARIATION = """local L = torch.class('my.L', 'nn.Module')
function L:updateOutput(x) self.output = x return x end
function L:updateGradInput(x, g)
   local d = x.new(x:size(1), 3, x:size(3) - 1, x:size(4)):copy(x[{{}, {}, {1, -2}}]):add(-1, x[{{}, {}, {2, -1}}])
   self.gradInput:resizeAs(x):zero()
   self.gradInput[{{}, {}, {1, -2}}]:add(d)
   self.gradInput:add(g)
   return self.gradInput
end"""


@pytest.mark.slow
def test_a_backward_pass_that_takes_fewer_sizes_than_the_output_is_recorded(tmp_path: Path) -> None:
    empty = tm.Tensor.from_numpy(torch.ones(0).numpy())
    conv = converted(tmp_path, VARIATION, {"gradInput": empty})
    x, grad = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randn(2, 3, 4, 5)
    conv.module(x).backward(grad)
    wanted = grad.clone()
    wanted[:, :, :-1] += (x[:, :, :-1] - x[:, :, 1:]).detach()
    assert x.grad is not None
    assert torch.allclose(x.grad, wanted)
