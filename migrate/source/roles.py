"""What parts of a converted model are: for how they are lowered, and what they are called."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..converters.images.upsampling import LinearUpsample, NearestUpsample
from ..converters.pointwise import elementwise
from ..converters.tables import containers
from ..converters.tables import entries as tables
from ..converters.tables.graph import Graph
from .constructors import Made
from .plumbing import REDUCERS, TABLES
from .stock_modules import recurrent_of


def is_pure(module: nn.Sequential) -> bool:
    """Does each direct child make one value of one value?"""
    return len(module) > 0 and not any(isinstance(child, TABLES) or recurrent_of(child) is not None for child in module)


def is_unit(module: nn.Module) -> bool:
    """Does it split up and join again, all within itself?"""
    if isinstance(module, (containers.Concat, containers.DepthConcat)):
        return True
    kids = list(module) if isinstance(module, nn.Sequential) and not is_pure(module) else []
    return any(is_pair(kids[i], kids[i + 1]) for i in range(len(kids) - 1))


def is_pair(first: nn.Module, second: nn.Module) -> bool:
    """Are these several branches, and what makes one tensor of their results?"""
    return isinstance(first, containers.ConcatTable) and isinstance(second, REDUCERS)


def signature(module: nn.Module, *, outermost: bool = True) -> Any:
    """What a unit is made of: whatever its sizes, its shortcut, and the units within it."""
    if not outermost and is_unit(module):
        return "unit"
    kids = list(module) if isinstance(module, (nn.Sequential, nn.ModuleList)) else []
    if isinstance(module, containers.ConcatTable) and len(kids) == 2:
        kids = [max(kids, key=size_of)]
    return (type(module).__name__, *(signature(kid, outermost=False) for kid in kids))


def size_of(module: nn.Module) -> int:
    """How many modules it holds."""
    return sum(not isinstance(m, nn.Identity) for m in module.modules())


def is_structured(module: nn.Module) -> bool:
    """Is there anything in it that reads better as Python?"""
    return any(isinstance(m, (*TABLES, containers.Concat, Graph)) for m in module.modules())


def kind_of(module: nn.Module) -> str:
    """What a part of a model is, for the name of its class."""
    if isinstance(module, Graph):
        return "Graph"
    if isinstance(module, (containers.Concat, containers.DepthConcat)):
        if len(module) > 2:
            return "Inception"
        if any(isinstance(child, elementwise.MulConstant) and child.constant == 0 for child in module):
            return "PadChannels"
        return "Dense" if any(isinstance(child, nn.Identity) for child in module) else "Branches"
    parts = [module, *(module if isinstance(module, nn.Sequential) else [])]
    if any(isinstance(part, tables.AddEntries) for part in parts):
        branches = [branch for part in parts if isinstance(part, containers.ConcatTable) for branch in part]
        longest = max(branches, key=size_of, default=module)
        convolutions = [m for m in longest.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d))]
        return "Bottleneck" if any(set(c.kernel_size) == {1} for c in convolutions[1:]) else "Residual"
    if not any(isinstance(part, tables.JoinTable) for part in parts):
        return "Block"
    return "UNetLevel" if any(isinstance(m, _ENLARGING) for m in module.modules()) else "Dense"


#: Layers behind which an image is larger.
_ENLARGING = (nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Upsample, NearestUpsample, LinearUpsample)


def role(made: Made) -> str:
    """A name for the attribute that holds a module."""
    if made.block is not None:
        return {"Dense": "dense", "Inception": "inception", "UNetLevel": "level"}.get(made.block.kind, "block")
    if made.is_chain:
        return "layers"
    name = made.cls.removeprefix("nn.")
    for part, role_name in _ROLES:
        if part in name:
            return role_name
    return "".join("_" + c.lower() if c.isupper() else c for c in name).strip("_")


_ROLES = (
    ("ConvTranspose", "deconv"),
    ("Conv", "conv"),
    ("BatchNorm", "norm"),
    ("Norm", "norm"),
    ("Pool", "pool"),
    ("Linear", "linear"),
    ("Dropout", "dropout"),
    ("Embedding", "embedding"),
    ("PReLU", "prelu"),
    ("ReLU", "relu"),
    ("Upsample", "upsample"),
    ("Identity", "identity"),
)
