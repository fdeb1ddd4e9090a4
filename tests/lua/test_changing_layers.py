"""Authors' layers that change what they hold, loop over sizes, or inherit their passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_layers_of_authors import converted, text_of

import torchmigrate as tm

pytest.importorskip("lupa")

pytestmark = pytest.mark.usefixtures("in_this_process")


CHANGED = """local L = torch.class('my.L', 'nn.Module')
function L:updateOutput(x)
   self.scale.constant_scalar = %s
   self.output = self.scale:forward(x)
   return self.output
end"""


@pytest.mark.parametrize(
    ("lua", "text", "wanted"), [("x:size(1)", "x * x.shape[0]", 3.0), ("x:dim() == 2 and 2 or 5", "x * 5", 5.0)]
)
def test_a_module_whose_fields_the_layer_changes_is_recorded_as_it_then_is(
    tmp_path: Path, lua: str, text: str, wanted: float
) -> None:
    fields = {"constant_scalar": 2.0, "inplace": False, "train": False}
    conv = converted(tmp_path, CHANGED % lua, {"scale": tm.LuaObject("nn.MulConstant", tm.LuaTable([*fields.items()]))})
    assert text in text_of(conv)
    assert torch.equal(conv.module(torch.ones(3, 4, 2)), torch.full((3, 4, 2), wanted))


@pytest.mark.slow
def test_a_loss_of_a_list_is_not_taken_for_one_of_a_tensor_whose_rows_it_reads(tmp_path: Path) -> None:
    conv = converted(
        tmp_path,
        """local L = torch.class('my.L', 'nn.Criterion')
        function L:updateOutput(x, target)
           assert(x[1]:dim() == 1)
           self.output = x[1]:dot(x[2])
           return self.output
        end
        function L:updateGradInput(x, target)
           self.gradInput = {x[2]:clone(), x[1]:clone()}
           return self.gradInput
        end""",
        {"gradInput": tm.Tensor.from_numpy(torch.ones(0).numpy())},
    )
    x, y = torch.randn(5, requires_grad=True), torch.randn(5)
    conv.module([x, y], torch.zeros(1)).backward()  # it reads no target, which may be of any size
    assert x.grad is not None
    assert torch.equal(x.grad, y)


@pytest.mark.slow
def test_no_sizes_are_taken_at_which_a_gradient_is_memory_that_nothing_was_written_to(tmp_path: Path) -> None:
    conv = converted(
        tmp_path,
        """local L = torch.class('my.L', 'nn.Module')
        function L:updateOutput(x) self.output = x[1] / x[2][1] return self.output end
        function L:updateGradInput(x, g)
           self.gradInput = {g / x[2][1], x[2].new():resizeAs(x[2])}
           self.gradInput[2][1] = -torch.cmul(g, x[1]):sum() / (x[2][1] * x[2][1])
           return self.gradInput
        end""",
        {},
    )
    assert "return x1 / x2.reshape(())" in text_of(conv)
    x, scale = torch.randn(3, 4), torch.full((1,), 2.0, requires_grad=True)
    conv.module([x, scale]).sum().backward()
    assert scale.grad is not None
    assert torch.allclose(scale.grad, -x.sum().reshape(1) / 4)


@pytest.mark.slow
def test_a_batch_normalization_that_gathers_nothing_keeps_no_state(tmp_path: Path) -> None:
    conv = converted(
        tmp_path,
        """local L = torch.class('my.L', 'nn.Module')
        function L:updateOutput(x)
           local planes = x:size(1) * x:size(2)
           if not self.bn or self.planes ~= planes then
              self.bn, self.planes = nn.SpatialBatchNormalization(planes), planes
           end
           self.bn.weight:fill(2)
           self.bn:training()
           self.output = self.bn:forward(x:view(1, planes, x:size(3), x:size(4))):viewAs(x)
           return self.output
        end""",
        {},
    )
    x = torch.randn(2, 3, 4, 5)  # Torch7 passes a batch of one through the running statistics, which are 0 and 1
    assert torch.allclose(conv.module(x), x * 2 / (1 + 1e-5) ** 0.5)


LOOPS = [
    (  # what is added up
        "local s = 0 for i = 1, x:size(1) do s = s + torch.exp(x[i]):sum() end return x / s",
        "torch.stack(parts, 0).sum(0)",
        lambda x: x / x.exp().sum(),
    ),
    (  # what nothing is added to in the first turn
        """local s, all = x.new(x:size(2)):zero(), x.new(x:size(1), x:size(2))
        for i = 1, x:size(1) do s = torch.tanh(s + x[i]) all[i]:copy(s) end
        return all""",
        "state",
        lambda x: torch.stack([x[0].tanh(), (x[0].tanh() + x[1]).tanh()]),
    ),
    (  # one tensor as often as there are rows
        """local all = x.new(x:size(1), 3)
        for i = 1, x:size(1) do all[i]:copy(self.base) end
        return torch.cmul(all, x)""",
        "self.base",
        lambda x: x * torch.tensor([1.0, 2.0, 3.0]),
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("lua", "text", "wanted"), LOOPS)
def test_a_loop_that_adds_up_or_copies_is_written_for_every_size(
    tmp_path: Path, lua: str, text: str, wanted: Any
) -> None:
    head = "local L = torch.class('my.L', 'nn.Module')\nfunction L:updateOutput(x) assert(x:dim() == 2)"
    base = tm.Tensor.from_numpy(torch.tensor([1.0, 2.0, 3.0]).numpy())
    conv = converted(tmp_path, f"{head}\n{lua}\nend", {"base": base})
    assert text in text_of(conv)
    x = torch.randn(2, 3)
    assert torch.allclose(conv.module(x), wanted(x))


SCALED = """local L, parent = torch.class('my.L', '%s')
function L:updateOutput(x) parent.updateOutput(self, x) self.output:mul(2) return self.output end
function L:updateGradInput(x, g)
   parent.updateGradInput(self, x, g)
   self.gradInput:mul(2)
   return self.gradInput
end"""


@pytest.mark.slow
def test_an_inherited_backward_pass_that_may_read_the_output_is_not_run_where_the_layer_changes_that(
    tmp_path: Path,
) -> None:
    empty = {"gradInput": tm.Tensor.from_numpy(torch.ones(0).numpy()), "train": False}
    # Torch7 computes the gradient of nn.Sigmoid from its output: -0.6098 at 0.5 here, and not 0.47
    with pytest.raises(tm.UnsupportedLayers, match=r"the backward pass of nn\.Sigmoid may read its output"):
        converted(tmp_path, SCALED % "nn.Sigmoid", empty)
    scale = {**empty, "constant_scalar": 3.0, "inplace": False}
    conv = converted(tmp_path, SCALED % "nn.MulConstant", scale)  # whose gradient is the same for every output
    assert "return x * 3.0 * 2" in text_of(conv) or "return x * 3 * 2" in text_of(conv)
