"""Authors' layers of every kind go where other layers go: model.py, ONNX, torch.compile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import torchmigrate as tm
from torchmigrate.model.convert import convert_model
from torchmigrate.source.generate import generate

pytest.importorskip("lupa")

from torchmigrate.lua.layers import provider

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("in_this_process"),
    # torch.compile itself makes an object of a torch.autograd.Function
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

HEAD = "local L, parent = torch.class('my.L', '%s')\n"
RECTIFIED = """function L:updateOutput(x)
   assert(x:dim() == 2)
   return torch.mul(parent.updateOutput(self, x), 2)
end"""
MADE = """function L:updateOutput(x)
   assert(x:dim() == 2)
   local net = nn.Sequential():add(nn.Tanh()):add(nn.MulConstant(x:size(2)))
   self.output = net:forward(x)
   return self.output
end"""
NUMBERS = """function L:updateOutput(x)
   assert(x:dim() == 2)
   self.output = x / math.sqrt(torch.pow(x, 2):sum() + 1)
   return self.output
end"""
LOOP = """function L:updateOutput(x)
   assert(x:dim() == 2)
   self.output = x.new(x:size(1), x:size(2)):zero()
   local sum = x.new(x:size(2)):zero()
   for i = 1, x:size(1) do
      sum = torch.tanh(sum + x[i])
      self.output[i]:copy(sum)
   end
   return self.output
end"""
THROUGH = """function L:updateOutput(x)
   assert(x:dim() == 2)
   self.output = torch.sign(x)
   return self.output
end
function L:updateGradInput(x, g)
   self.gradInput = g:clone()
   return self.gradInput
end"""


def numbers(*values: float) -> Any:
    return tm.Tensor.from_numpy(torch.tensor(values).numpy())


def converted(folder: Path, parent: str, lua: str) -> Any:
    (folder / "layer.lua").write_text(HEAD % parent + lua)
    layer = tm.LuaObject("my.L", tm.LuaTable([("gradInput", numbers()), ("inplace", False), ("train", False)]))
    return convert_model(layer, provided=provider.converters([folder / "layer.lua"]))


KINDS = [
    ("nn.ReLU", RECTIFIED, "relu", True),
    ("nn.Module", MADE, "tanh", True),
    ("nn.Module", NUMBERS, ".sum()", True),
    ("nn.Module", LOOP, "for i in range(x.shape[0])", False),
    ("nn.Module", THROUGH, "LPasses.apply(x)", True),
]


@pytest.mark.parametrize(("parent", "lua", "text", "rows_are_free"), KINDS)
def test_a_layer_is_written_exported_and_compiled(
    tmp_path: Path, parent: str, lua: str, text: str, rows_are_free: bool
) -> None:
    conv = converted(tmp_path, parent, lua)
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    wanted = conv.module(x)
    source = generate(conv, x)
    assert text in source.text
    space: dict[str, Any] = {}
    exec(source.text, space)
    assert torch.equal(space["Model"]()(x), wanted)
    exported = tm.export_onnx(conv, tmp_path / "layer.onnx", example_input=x, dynamic=None if rows_are_free else ())
    assert (tmp_path / "layer.onnx").exists()
    assert exported is not None
    compiled = torch.compile(conv.module, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(x), wanted)
    leaf = x.clone().requires_grad_()
    compiled(leaf).sum().backward()
    again = x.clone().requires_grad_()
    conv.module(again).sum().backward()
    assert leaf.grad is not None
    assert again.grad is not None
    assert torch.allclose(leaf.grad, again.grad)
