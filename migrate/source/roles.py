"""What parts of a converted model are: for how they are lowered, and what they are called."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from .expressions import Variable
from .forms import has_lists, is_chain, loop_of, stock_layer, structure_of
from .scopes import Block, Constructor, Loop


def is_pure(module: nn.Sequential) -> bool:
    """Does each direct child make one value of one value?"""
    return len(module) > 0 and not any(
        has_lists(kid) or stock_layer("recurrent", kid) or loop_of(kid) for kid in module
    )


def joins(module: nn.Module) -> bool:
    """Does it run several branches, and join what they give?"""
    return structure_of(module).flow in ("joined", "padded")


def is_unit(module: nn.Module) -> bool:
    """Does it split up and join again, all within itself?"""
    kids = list(module) if is_chain(module) and not is_pure(module) else []
    return joins(module) or any(is_pair(kids[i], kids[i + 1]) for i in range(len(kids) - 1))


def is_pair(first: nn.Module, second: nn.Module) -> bool:
    """Are these several branches, and what makes one tensor of their results?"""
    return structure_of(first).flow == "branches" and structure_of(second).merges != ""


def signature(module: nn.Module, *, outermost: bool = True) -> Any:
    """What a unit is made of: whatever its sizes, its shortcut, and the units within it."""
    if not outermost and is_unit(module):
        return "unit"
    kids = list(module) if isinstance(module, (nn.Sequential, nn.ModuleList)) else []
    if structure_of(module).flow == "branches" and len(kids) == 2:
        kids = [max(kids, key=size_of)]
    return (type(module).__name__, *(signature(kid, outermost=False) for kid in kids))


def size_of(module: nn.Module) -> int:
    """How many modules it holds."""
    return sum(not isinstance(m, nn.Identity) for m in module.modules())


def is_structured(module: nn.Module) -> bool:
    """Is there anything in it that reads better as Python?"""
    return any(has_lists(m) or structure_of(m).flow in ("joined", "graph") for m in module.modules())


def kind_of(module: Any) -> str:
    """What a part of a model is, for the name of its class."""
    if structure_of(module).flow == "graph":
        return "Graph"
    if joins(module):
        branches = list(module)
        if len(branches) > 2:
            return "Inception"
        if any(structure_of(branch).zeros for branch in branches):
            return "PadChannels"
        return "Dense" if any(isinstance(branch, nn.Identity) for branch in branches) else "Branches"
    parts = [module, *(module if is_chain(module) else [])]
    structures = [structure_of(part) for part in parts]
    if any(structure.merges == "sum" for structure in structures):
        split = [part for part, structure in zip(parts, structures, strict=True) if structure.flow == "branches"]
        longest = max((branch for part in split for branch in part), key=size_of, default=module)
        convolutions = [m for m in longest.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d))]
        return "Bottleneck" if any(set(c.kernel_size) == {1} for c in convolutions[1:]) else "Residual"
    if all(structure.merges != "join" for structure in structures):
        return "Block"
    return "UNetLevel" if any(structure_of(m).enlarges for m in module.modules()) else "Dense"


def is_expression(block: Block) -> bool:
    """Does a class hold no layers, and compute a single value in a few lines?"""
    statements = block.scope.statements
    plain = not any(isinstance(statement, Loop) for statement in statements) and not block.scope.indices
    return plain and not block.scope.attrs and len(statements) <= _SHORT and isinstance(block.result, Variable)


#: So many operations need no class of their own.
_SHORT = 8


def role(constructor: Constructor) -> str:
    """A name for the attribute that holds a module."""
    if constructor.block is not None:
        return _ROLES.get(constructor.block.kind, "block")
    if constructor.is_chain:
        return "layers"
    name = constructor.cls.removeprefix("nn.")
    for part in _KINDS:
        if part in name:
            return "deconv" if part == "ConvTranspose" else part.lower()
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


#: What names of attributes are made of, where a class has it in its own name; the first that fits.
_KINDS = ("ConvTranspose", "Conv", "Norm", "Pool", "Linear", "Dropout", "Embedding", "PReLU", "ReLU", "Upsample")

#: What attributes with a block of a kind are called, if not "block".
_ROLES = {"Dense": "dense", "Inception": "inception", "UNetLevel": "level", "Hourglass": "hourglass"}
