"""Compares the class that was written of a layer with its Lua, on numbers and sizes that were not traced."""

from __future__ import annotations

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
    given = to_torch(example["input"])
    wanted = to_torch(example["output"])
    leaves = [x.clone().requires_grad_(x.is_floating_point()) for x in flat(given)]
    x = [leaf * 1 if leaf.is_floating_point() else leaf for leaf in leaves]  # may be written to in place
    try:
        with torch.enable_grad():
            if criterion:
                output = module(x[0] if len(x) == 2 else x[:-1], x[-1])
            else:
                output = module(x if isinstance(given, list) else x[0])
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        fails = f"{_sizes(given)}: {(str(error).splitlines() or [''])[0]}"
        if example.get("edge") is True:
            note = f"it raises on sizes at the edge of what its Lua takes, such as {fails}"
            found.notes += [] if any(each.startswith("it raises on sizes") for each in found.notes) else [note]
        else:
            found.wrong = found.wrong or f"it fails on {fails}"
        return
    if difference := differs(output, wanted):
        found.wrong = found.wrong or f"on an input of {_sizes(given)}: {difference}"
        return
    found.outputs += 1
    if example.get("backward_failed") is not None:
        note = f"its Lua's backward pass fails on inputs of some sizes it takes: {example['backward_failed']}"
        found.notes += [] if found.notes else [note]
    elif example.get("gradOutput") is not None:
        try:
            difference = _gradients(module, example, output, leaves[:-1] if criterion else leaves, own)
        except (RuntimeError, ValueError) as error:
            difference = f"its backward pass fails on {_sizes(given)}: {(str(error).splitlines() or [''])[0]}"
        if not difference:
            found.gradients += 1
        elif example.get("how") in ("ties", "zeros") and not strict:
            note = "where numbers of its input are 0 or alike, the gradient of its Lua is another than PyTorch's"
            found.notes += [] if note in found.notes else [note]
        else:
            found.gradient = found.gradient or difference


def _gradients(
    module: nn.Module, example: LuaTable, output: Any, leaves: list[torch.Tensor], own: Sequence[str | None]
) -> str:
    """How the gradients differ; "" if they do not."""
    names = dict(module.named_parameters())
    outputs = [part for part in flat(output) if part.requires_grad]
    grads = [
        g.reshape(part.shape)
        for g, part in zip(flat(to_torch(example["gradOutput"])), flat(output), strict=True)
        if part.requires_grad
    ]
    wanted = [*[leaf for leaf in leaves if leaf.requires_grad], *names.values()]
    made = torch.autograd.grad(outputs, wanted, grads, allow_unused=True) if outputs else [None] * len(wanted)
    by = {id(tensor): grad for tensor, grad in zip(wanted, made, strict=True)}

    def gradient(tensor: torch.Tensor) -> torch.Tensor:
        found = by.get(id(tensor))
        return torch.zeros_like(tensor) if found is None else found

    given = flat(to_torch(example.get("gradInput")))
    if len(given) != len(leaves) or not all(isinstance(part, torch.Tensor) for part in given):
        return f"its Lua gives {len(given)} gradients for an input of {len(leaves)} tensors"
    for leaf, part in zip(leaves, given, strict=True):
        if not part.numel() and not gradient(leaf).any():
            continue
        if difference := differs(gradient(leaf), part.to(leaf.dtype)):
            return f"the gradient of the input differs, {difference}"
    listed = to_torch(example["gradParameters"])
    inner: Counter[str] = Counter()
    for name, part in zip(own, listed if isinstance(listed, list) else [], strict=True):
        if name is not None:
            if difference := differs(gradient(names[name]), part):
                return f"the gradient of {name} differs, {difference}"
            continue
        # a child's parameter may be laid out in another way
        alike = [
            other
            for other, parameter in names.items()
            if parameter.numel() == part.numel()
            and not inner[other]
            and not differs(gradient(parameter).flatten().sort().values, part.flatten().sort().values)
        ]
        if not alike:
            return "the gradient of a parameter of one of its modules differs"
        inner[alike[0]] += 1
    return ""


def differs(made: Any, wanted: Any) -> str:
    """How one value differs from another; "" if by rounding only."""
    if isinstance(made, (list, tuple)) != isinstance(wanted, (list, tuple)):
        return "one gives a list and the other a tensor"
    ours, theirs = flat(made), flat(wanted)
    if isinstance(wanted, float) and len(ours) == 1:  # of a criterion
        theirs = [torch.tensor(wanted, dtype=ours[0].dtype)]
    if len(ours) != len(theirs):
        return f"{len(ours)} tensors, and the Lua gives {len(theirs)}"
    for one, other in zip(ours, theirs, strict=True):
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
            if off > _ROUNDING.get(a.dtype, 0.0) * max(largest, 1e-3):
                return f"by {off:.3g} where the largest number is {largest:.3g}"
    return ""


def _size(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape))


def _sizes(value: Any) -> str:
    return ", ".join(map(_size, flat(value)))
