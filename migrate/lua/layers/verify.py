"""Compares the class that was written of a layer with its Lua, on numbers and sizes that were not traced."""

from __future__ import annotations

import copy
import functools
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...model.convert import to_torch
from ...t7 import LuaTable
from .children import flat

#: Differences that rounding makes, as parts of the largest number.
_ROUNDING = {torch.float32: 2e-5, torch.float64: 1e-10}
#: Where single precision itself is far from what doubles give. The Lua and the class each lose about that, in other
#: orders (at most 2.2 times that was seen among authors' layers that are right); and never is more than a part allowed.
_OF_ROUNDING, _MOST_ROUNDING = 4.0, 1e-3

#: Errors of a module on an input.
_FAILS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)


@dataclass
class Findings:
    """What was compared.

    Attributes:
        outputs: how many outputs are those of the Lua.
        gradients: how many gradients are.
        wrong: the first output that is not.
        gradient: the first gradient that is not.
        notes: what to know.
    """

    outputs: int = 0
    gradients: int = 0
    wrong: str = ""
    gradient: str = ""
    notes: list[str] = field(default_factory=list)


def compare(
    module: nn.Module,
    examples: Sequence[LuaTable],
    own: Sequence[str | None],
    *,
    strict: bool = False,
    criterion: bool = False,
) -> Findings:
    """Compares a module with what the Lua gave.

    Args:
        module: in evaluation.
        examples: what `explore` gave.
        own: for each parameter that the Lua lists, its name in the module; None for one of a child.
        strict: its backward pass is the Lua's: gradients are the same where numbers are 0 or alike, too.
        criterion: it is a loss, and the last tensor of the list is the target.
    """
    found = Findings()
    with warnings.catch_warnings():  # one number has no deviation, for example
        warnings.simplefilter("ignore")
        for example in examples:
            if example.get("failed") is None:
                _add(found, module, example, own, strict, criterion)
    return found


def _add(
    found: Findings,
    module: nn.Module,
    example: LuaTable,
    own: Sequence[str | None],
    strict: bool,
    criterion: bool,
) -> None:
    wanted = to_torch(example["output"])
    try:
        ours = _Passes(module, example, criterion)
    except _FAILS as error:
        fails = f"{_sizes(to_torch(example['input']))}: {(str(error).splitlines() or [''])[0]}"
        if example.get("edge") is True:
            note = f"it raises on sizes at the edge of what its Lua takes, such as {fails}"
            found.notes += [] if any(each.startswith("it raises on sizes") for each in found.notes) else [note]
        else:
            found.wrong = found.wrong or f"it fails on {fails}"
        return
    difference = differs(ours.output, wanted)
    if difference and (exact := _in_double(module, example, criterion)) is not None:
        difference = differs(ours.output, wanted, exact.output)
    if difference:
        found.wrong = found.wrong or f"on an input of {_sizes(to_torch(example['input']))}: {difference}"
        return
    found.outputs += 1
    if example.get("backward_failed") is not None:
        note = f"its Lua's backward pass fails on inputs of some sizes it takes: {example['backward_failed']}"
        found.notes += [] if found.notes else [note]
    elif example.get("gradOutput") is not None:
        try:
            difference = _gradients(ours, example, own)
            if difference and (exact := _in_double(module, example, criterion)) is not None:
                difference = _gradients(ours, example, own, exact)
        except (RuntimeError, ValueError) as error:
            sizes = _sizes(to_torch(example["input"]))
            difference = f"its backward pass fails on {sizes}: {(str(error).splitlines() or [''])[0]}"
        if not difference:
            found.gradients += 1
        elif example.get("how") in ("ties", "zeros") and not strict:
            note = "where numbers of its input are 0 or alike, the gradient of its Lua is another than PyTorch's"
            found.notes += [] if note in found.notes else [note]
        else:
            found.gradient = found.gradient or difference


class _Passes:
    """A forward pass of a module on an example, and its gradients.

    Args:
        module: the module.
        example: what `explore` gave.
        criterion: it is a loss.
        double: compute in doubles.

    Attributes:
        output: what it gives.
        leaves: the tensors of the input, without the target of a loss.
    """

    def __init__(self, module: nn.Module, example: LuaTable, criterion: bool, double: bool = False) -> None:
        given = to_torch(example["input"])
        tensors = [x.double() if double and x.is_floating_point() else x.clone() for x in flat(given)]
        self.leaves = [x.requires_grad_(x.is_floating_point()) for x in tensors]
        x = [leaf * 1 if leaf.is_floating_point() else leaf for leaf in self.leaves]  # may be written to in place
        self.names = dict(module.named_parameters())
        self._grad = flat(to_torch(example.get("gradOutput")))
        with torch.enable_grad():
            if criterion:
                self.output = module(x[0] if len(x) == 2 else x[:-1], x[-1])
                self.leaves = self.leaves[:-1]
            else:
                self.output = module(x if isinstance(given, list) else x[0])

    @functools.cached_property
    def gradients(self) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        """Those of the tensors of the input, and those of the parameters; 0 where there is none."""
        outputs = [part for part in flat(self.output) if part.requires_grad]
        both = zip(self._grad, flat(self.output), strict=True)
        grads = [grad.reshape(part.shape).to(part.dtype) for grad, part in both if part.requires_grad]
        wanted = [*self.leaves, *self.names.values()]
        asked = [tensor for tensor in wanted if tensor.requires_grad]
        made = torch.autograd.grad(outputs, asked, grads, allow_unused=True) if outputs else [None] * len(asked)
        by = {id(tensor): grad for tensor, grad in zip(asked, made, strict=True) if grad is not None}
        found = [by.get(id(tensor), torch.zeros_like(tensor)) for tensor in wanted]
        count = len(self.leaves)
        return found[:count], dict(zip(self.names, found[count:], strict=True))


def _in_double(module: nn.Module, example: LuaTable, criterion: bool) -> _Passes | None:
    """The passes in doubles, which tell how much of a single result is rounding; None if they are no others."""
    if not any(x.dtype == torch.float32 for x in flat(to_torch(example["input"]))):
        return None
    try:
        return _Passes(copy.deepcopy(module).double(), example, criterion, double=True)
    except _FAILS:
        return None


def _gradients(ours: _Passes, example: LuaTable, own: Sequence[str | None], exact: _Passes | None = None) -> str:
    """How the gradients differ; "" if they do not."""
    of_inputs, of_parameters = ours.gradients
    inputs, parameters = (of_inputs, of_parameters) if exact is None else exact.gradients
    given = flat(to_torch(example.get("gradInput")))
    if len(given) != len(of_inputs) or not all(isinstance(part, torch.Tensor) for part in given):
        return f"its Lua gives {len(given)} gradients for an input of {len(of_inputs)} tensors"
    for made, wide, part in zip(of_inputs, inputs, given, strict=True):
        if not part.numel() and not made.any():
            continue
        if difference := differs(made, part.to(made.dtype), wide):
            return f"the gradient of the input differs, {difference}"
    listed = to_torch(example["gradParameters"])
    inner: Counter[str] = Counter()
    for name, part in zip(own, listed if isinstance(listed, list) else [], strict=True):
        if name is not None:
            if difference := differs(of_parameters[name], part, parameters[name]):
                return f"the gradient of {name} differs, {difference}"
            continue
        # a child's parameter may be laid out in another way
        alike = [
            other
            for other, made in of_parameters.items()
            if made.numel() == part.numel()
            and not inner[other]
            and not differs(_in_order(made), _in_order(part), _in_order(parameters[other]))
        ]
        if not alike:
            return "the gradient of a parameter of one of its modules differs"
        inner[alike[0]] += 1
    return ""


def _in_order(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten().sort().values


def differs(made: Any, wanted: Any, exact: Any = None) -> str:
    """How one value differs from another; "" if by rounding only.

    Args:
        made: a tensor, or a list of such.
        wanted: what it should be; a number of a criterion.
        exact: the first one as it is in doubles: what is close to it for single precision is rounding.
    """
    if isinstance(made, (list, tuple)) != isinstance(wanted, (list, tuple)):
        return "one gives a list and the other a tensor"
    ours, theirs = flat(made), flat(wanted)
    if isinstance(wanted, float) and len(ours) == 1:  # of a criterion
        theirs = [torch.tensor(wanted, dtype=ours[0].dtype)]
    if len(ours) != len(theirs):
        return f"{len(ours)} tensors, and the Lua gives {len(theirs)}"
    wide = ours if exact is None else flat(exact)
    for one, other, double in zip(ours, theirs, wide, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"{_size(one)} of {one.dtype}, and the Lua gives {_size(other)} of {other.dtype}"
        a, b = one.detach(), other
        if not a.is_floating_point():
            if not torch.equal(a, b):
                return "other whole numbers"
            continue
        same = (a == b) | (a.isnan() & b.isnan())
        finite = a.isfinite() & b.isfinite()
        if not bool((same | finite).all()):
            return "NaN or Inf in other places"
        if not bool(same.all()):
            largest = float(b[finite].abs().max())
            off = float((a - b)[finite].abs().max())
            lost = float((a - double.detach().reshape(a.shape))[finite].abs().max())
            allowed = max(_ROUNDING.get(a.dtype, 0.0), min(_OF_ROUNDING * lost / max(largest, 1e-3), _MOST_ROUNDING))
            if off > allowed * max(largest, 1e-3):
                return f"by {off:.3g} where the largest number is {largest:.3g}"
    return ""


def _size(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape))


def _sizes(value: Any) -> str:
    return ", ".join(map(_size, flat(value)))
