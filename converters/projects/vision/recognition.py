"""Layers that projects of image recognition and segmentation defined beside their models: DenseNet, DeepMask."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ....model.layer import Layer
from ....model.registry import converts
from ....model.traits import Traits
from ....t7 import LuaObject, LuaTable, Value
from ...images.batch_norm import BatchNorm, BatchStatisticsNorm
from ...images.padding import sides_of
from ...linear.linear import linear
from ...pointwise.dropout import MaskDropout

#: What drops at random in training.
DROPOUTS = (nn.Dropout, nn.Dropout2d, nn.Dropout3d, MaskDropout)


@converts("nn.CustomLinear", traits=Traits(picture="weights", unproven="the projects' sources are no longer public"))
def custom_linear(layer: Layer) -> nn.Linear:
    """nn.CustomLinear(inputSize, outputSize, [mean], [std]), of robotsorcerer/FARNN and others

    An nn.Linear with another initialization.
    """
    layer.note("taken for an nn.Linear with an initialization of its own, which is what projects define by this name")
    return linear(layer)


class DenseLayer(nn.Module):
    """Returns the tensors of its input and one more, computed from all of them joined.

    Args:
        first: normalizes and activates.
        second: makes the new planes.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
        given = [x] if isinstance(x, torch.Tensor) else list(x)
        return [*given, self.second(self.first(torch.cat(given, 1)))]


@converts("nn.DenseConnectLayerCustom", traits=Traits(output="pass"))
def dense_connect_layer(layer: Layer) -> DenseLayer:
    """nn.DenseConnectLayerCustom(nChannels, opt), of liuzhuang13/DenseNet

    Takes a tensor or the list that the layer before returned. Torch7 runs the fields net1 and net2; where these are
    other objects than `modules` holds, as in copies that the project saved, evaluate() does not reach them.
    """
    layer.ignore("opt", "input_c", "saved_bn_running_mean", "saved_bn_running_var", "modules")
    names = ("net1", "net2")
    if not all(layer.has(name) for name in names):
        return DenseLayer(*layer.modules())
    listed = layer.value("modules")
    parts = listed.list() if isinstance(listed, LuaTable) else []
    nets = [layer.convert(layer.value(name), str(i)) for i, name in enumerate(names, 1)]
    if any(layer.value(name) is not part for name, part in zip(names, parts, strict=False)):
        stay_in_training(layer, [layer.value(name) for name in names], nets)
    return DenseLayer(*nets)


def stay_in_training(layer: Layer, objects: list[Value], modules: list[nn.Module]) -> None:
    """Makes modules that evaluate() does not reach in Torch7 compute as in training, if they train."""
    modes = {item.get("train") for value in objects for item in objects_of(value)}
    if True not in modes:
        return
    if False in modes or any(isinstance(part, DROPOUTS) for module in modules for part in module.modules()):
        layer.refuse("evaluate() does not reach its net1 and net2, parts of which would go on training")
    norms = [part for module in modules for part in module.modules() if isinstance(part, BatchNorm)]
    for part in norms:
        part.__class__ = BatchStatisticsNorm
    if norms:
        layer.note(
            "its net1 and net2 are other objects than its `modules`, so that evaluate() does not reach them in Torch7, "
            "which goes on with the statistics of each batch: so does the converted layer"
        )


def objects_of(value: Value) -> list[LuaObject]:
    """An object and the modules in it."""
    if not isinstance(value, LuaObject):
        return []
    children = value.get("modules")
    parts = children.list() if isinstance(children, LuaTable) else []
    return [value, *(item for part in parts for item in objects_of(part))]


class SymmetricPad(nn.Module):
    """Pads images with their mirror, the edge included; negative numbers crop. The padding gives no gradient.

    Args:
        padding: left, right, top, bottom.
    """

    def __init__(self, padding: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right, top, bottom = self.padding
        x = F.pad(x, [min(left, 0), min(right, 0), min(top, 0), min(bottom, 0)])
        return self.mirrored(self.mirrored(x, 2, top, bottom), 3, left, right)

    def mirrored(self, x: torch.Tensor, dim: int, before: int, after: int) -> torch.Tensor:
        size = x.shape[dim]
        if max(before, after) > size:
            raise ValueError(f"an image of size {tuple(x.shape)} is too small for a padding of {self.padding}")
        parts = [x]
        if before > 0:
            parts.insert(0, x.narrow(dim, 0, before).flip(dim).detach())
        if after > 0:
            parts.append(x.narrow(dim, size - after, after).flip(dim).detach())
        return torch.cat(parts, dim)

    def extra_repr(self) -> str:
        return f"{self.padding}"


@converts("nn.SpatialSymmetricPadding", traits=Traits(reads="images"))
def spatial_symmetric_padding(layer: Layer) -> SymmetricPad:
    """nn.SpatialSymmetricPadding(padLeft, [padRight], [padTop], [padBottom]), of facebookresearch/deepmask

    Negative numbers crop. As in Torch7 the padding counts as constant in the gradient.
    """
    return SymmetricPad(sides_of(layer))


class DeepMask(nn.Module):
    """Returns a mask and a score, made from the same features.

    Args:
        trunk: makes the features.
        mask_branch: makes the mask of them.
        score_branch: makes the score of them.
    """

    def __init__(self, trunk: nn.Module, mask_branch: nn.Module, score_branch: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.mask_branch = mask_branch
        self.score_branch = score_branch

    def forward(self, x: torch.Tensor) -> list[Any]:
        features = self.trunk(x)
        return [self.mask_branch(features), self.score_branch(features)]


@converts("nn.DeepMask", traits=Traits(unproven="Torch7's class can't be run as a whole"))
def deep_mask(layer: Layer) -> DeepMask:
    """nn.DeepMask(config), of facebookresearch/deepmask

    Returns the list of mask and score. Torch7's class has no forward of its own: the project runs the trunk, then the
    branches on its output.
    """
    layer.ignore("modules", "fSz")
    layer.note("Torch7's nn.DeepMask can't be run as a whole; the converted one returns [mask, score] of its branches")
    return DeepMask(layer.module("trunk"), layer.module("maskBranch"), layer.module("scoreBranch"))


class SharpMask(nn.Module):
    """Refines a mask step by step with features from ever earlier in its trunk.

    Args:
        trunk: makes the features.
        refinements: the first turns them into a coarse mask; the others take [earlier features, mask].
        positions: which parts of the trunk (0-based) the features come from, one for each refinement but the first.
        score_branch: makes a score of the features of the trunk; `forward` does not.
        mask_branch: makes a mask of the features of the trunk, as DeepMask did; `forward` does not.
    """

    def __init__(
        self,
        trunk: nn.Sequential,
        refinements: list[nn.Module],
        positions: list[int],
        score_branch: nn.Module,
        mask_branch: nn.Module,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.refinements = nn.ModuleList(refinements)
        self.positions = positions
        self.score_branch = score_branch
        self.mask_branch = mask_branch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = []
        for part in self.trunk:
            x = part(x)
            features.append(x)
        mask: torch.Tensor = self.refinements[0](x)
        for step, position in enumerate(self.positions, 1):
            mask = self.refinements[step]([features[position], mask])
        return mask

    def extra_repr(self) -> str:
        return f"positions={self.positions}"


@converts("nn.SharpMask", traits=Traits(unproven="its constructor loads networks that were trained before"))
def sharp_mask(layer: Layer) -> SharpMask:
    """nn.SharpMask(config), of facebookresearch/deepmask

    Returns the mask, as Torch7's forward does. For the score: module.score_branch(module.trunk(x)).
    """
    layer.ignore("modules", "km", "ks", "inps", "netvs", "neths", "fSz")
    layer.note("it returns the mask only, as in Torch7; for the score run its score_branch on what its trunk returns")
    table = layer.value("refs")
    if not isinstance(table, LuaTable) or table.get(0) is None:
        layer.refuse("its field 'refs' should be a table of refinements from 0 on")
    steps = [table.get(0), *table.list()]
    positions = layer.integers("skpos")[: len(steps) - 1]
    children = layer.value("trunk").get("modules")
    held = children.list() if isinstance(children, LuaTable) else []
    for position in positions:
        if not 1 <= position <= len(held) or _changes_input(held[position] if position < len(held) else None):
            layer.refuse(f"its refinements want what part {position} of the trunk returned, which is not kept")
    trunk = layer.module("trunk")
    if len(positions) < len(steps) - 1 or not isinstance(trunk, nn.Sequential):
        layer.refuse("its trunk, or its positions in the trunk, are not those of SharpMask")
    refinements = [layer.convert(step, f"refs.{i}") for i, step in enumerate(steps)]
    return SharpMask(
        trunk, refinements, [p - 1 for p in positions], layer.module("scoreBranch"), layer.module("maskBranchDM")
    )


def _changes_input(value: Value) -> bool:
    """Does this module, or the first of a sequence, change its input in place?"""
    while isinstance(value, LuaObject) and isinstance(children := value.get("modules"), LuaTable):
        value = children.get(1)
    return isinstance(value, LuaObject) and value.get("inplace") not in (None, False)


class BatchFlip(nn.Module):
    """Mirrors half of the images of a batch in training, chosen at random."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        chosen = torch.randperm(x.shape[0], device=x.device) < x.shape[0] // 2
        return torch.where(chosen.reshape(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)


@converts("nn.BatchFlip", traits=Traits(output="pass", keeps_size=True))
def batch_flip(layer: Layer) -> BatchFlip:
    """nn.BatchFlip(), of szagoruyko/cifar.torch

    Torch7 changes its input in place. Projects that copied it may flip another share of the images.
    """
    return BatchFlip()
