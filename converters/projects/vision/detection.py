"""facebookresearch/multipathnet: layers for boxes around objects, {image, x1, y1, x2, y2}."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts, converts_to, module_form
from ....model.traits import Traits
from ....parity.choices import Choice
from ....t7 import LuaTable
from ...tables.containers import only_child


class NoBackprop(nn.Module):
    """Runs a module; no gradient goes back through it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        return self.detached(self.module(x))

    def detached(self, value: Any) -> Any:
        return value.detach() if isinstance(value, torch.Tensor) else [self.detached(item) for item in value]


@converts("nn.NoBackprop", traits=Traits(output="children", flow="wrapper"))
def no_backprop(layer: Layer) -> NoBackprop:
    """nn.NoBackprop(module), of facebookresearch/multipathnet"""
    if layer.has("inner"):  # before version 2
        return NoBackprop(layer.module("inner"))
    return NoBackprop(only_child(layer))


class BoxNorm(nn.Module):
    """In evaluation, scales boxes (B, 4 K) by a deviation and adds a mean, of the 4 numbers of a box."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.register_buffer("mean", torch.empty(4))
        self.register_buffer("std", torch.empty(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            return x
        if self.inplace and x.is_contiguous():
            x.view(-1, 4).mul_(self.std).add_(self.mean)
            return x
        return (x.reshape(x.shape[0], -1, 4) * self.std + self.mean).flatten(1)

    def extra_repr(self) -> str:
        return f"inplace={self.inplace}"


@converts("nn.BBoxNorm", traits=Traits(output="write", keeps_size=True))
def bbox_norm(layer: Layer) -> BoxNorm:
    """nn.BBoxNorm(mean, std), of facebookresearch/multipathnet

    Torch7 changes its input in place.
    """
    module = layer.make(BoxNorm, inplace=True)
    _put_statistics(layer, module)
    return module


def _put_statistics(layer: Layer, module: nn.Module) -> None:
    for name in ("mean", "std"):
        layer.put(module, name, layer.tensor(name).detach().reshape(-1), field=name)


class SelectBoxes(nn.Module):
    """Of [scores (B, K), boxes (B, 4 K)], the box of the best class; no gradient goes back.

    Args:
        renormalize: scale its numbers by a deviation and add a mean.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, renormalize: bool = False) -> None:
        super().__init__()
        self.renormalize = renormalize
        if renormalize:
            self.register_buffer("mean", torch.empty(4))
            self.register_buffer("std", torch.empty(4))

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        scores, boxes = x[0].detach(), x[1].detach()
        best = scores.argmax(1).reshape(-1, 1, 1).expand(-1, 1, 4)
        chosen = boxes.reshape(boxes.shape[0], -1, 4).gather(1, best).squeeze(1)
        return chosen * self.std + self.mean if self.renormalize else chosen

    def extra_repr(self) -> str:
        return f"renormalize={self.renormalize}"


def _with_choice(
    module: SelectBoxes, x: list[torch.Tensor], given: list[torch.Tensor], expected: torch.Tensor, slack: float
) -> torch.Tensor:
    """The reference's boxes where they are those of classes with the best score."""
    own: torch.Tensor = module.forward(x)  # without the hooks that watch it
    scores, boxes = given
    every = boxes.reshape(boxes.shape[0], -1, 4)
    every = every * module.std + module.mean if module.renormalize else every
    as_good = scores >= scores.amax(1, keepdim=True) - slack
    distance = (every - expected.unsqueeze(1)).abs().amax(2).masked_fill(~as_good, float("inf"))
    nearest = distance.argmin(1).reshape(-1, 1, 1).expand(-1, 1, 4)
    return torch.where(as_good.sum(1, keepdim=True) > 1, every.gather(1, nearest).squeeze(1), own)


module_form("choice", SelectBoxes)(Choice(_with_choice))


@converts("nn.SelectBoxes")
def select_boxes(layer: Layer) -> SelectBoxes:
    """nn.SelectBoxes(), of facebookresearch/multipathnet"""
    layer.ignore("gradInput_classes", "gradInput_boxes", "maxvals", "maxids", "ids")
    module = layer.make(SelectBoxes, layer.has("std"))
    if layer.has("std"):
        _put_statistics(layer, module)
    return module


class ContextRegion(nn.Module):
    """Makes boxes (B, 5), the first number being the image, larger or smaller; no gradient goes back."""

    transform: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("transform", torch.empty(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.detach()
        return torch.cat([x[:, :1], x[:, 1:] @ self.transform], 1)


@converts("nn.ContextRegion")
def context_region(layer: Layer) -> ContextRegion:
    """nn.ContextRegion(scale), of facebookresearch/multipathnet"""
    return layer.put(layer.make(ContextRegion), "transform", layer.tensor("tr").detach(), field="tr")


class Foveal(nn.Module):
    """Makes four boxes of each (B, 5): itself, and the regions 1.5, 2 and 4 times as large around it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        boxes = x.detach().float().double()  # Torch7 takes 32 bits of each number
        corner, size = boxes[:, 1:3], boxes[:, 3:] - boxes[:, 1:3]
        regions = [boxes]
        for before, whole in ((0.25, 1.5), (0.5, 2.0), (1.5, 4.0)):
            start = corner - size * before
            regions.append(torch.cat([boxes[:, :1], start, start + size * whole], 1))
        return torch.stack(regions, 1).flatten(0, 1).float().to(x.dtype)


converts_to(Foveal, "nn.Foveal", project="facebookresearch/multipathnet")


class ConvertFrom(nn.Module):
    """Moves boxes: of [boxes (B, 5), moves (B, 4)], each centre by a share of its size, and the log of its size."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        boxes, moves = x
        start, end = boxes[:, 1:3], boxes[:, 3:5]
        size = end - start
        centre = (start + end) * 0.5 + moves[:, :2] * size
        half = moves[:, 2:4].exp() * size * 0.5
        return torch.cat([boxes[:, :1], centre - half, centre + half], 1)


@converts("nn.ConvertFrom")
def convert_from(layer: Layer) -> ConvertFrom:
    """nn.ConvertFrom(), of facebookresearch/multipathnet

    Torch7's gradient is not computed; here it is the derivative.
    """
    layer.ignore("gradInput1", "gradInput2")
    return ConvertFrom()


class ModeSwitch(nn.Module):
    """Runs one module in training and another in evaluation."""

    def __init__(self, train_module: nn.Module, eval_module: nn.Module) -> None:
        super().__init__()
        self.train_module = train_module
        self.eval_module = eval_module

    def forward(self, x: Any) -> Any:
        return self.train_module(x) if self.training else self.eval_module(x)


@converts("nn.ModeSwitch", traits=Traits(output="children"))
def mode_switch(layer: Layer) -> ModeSwitch:
    """nn.ModeSwitch(train_module, test_module), of facebookresearch/multipathnet"""
    train_module, eval_module = layer.modules()
    return ModeSwitch(train_module, eval_module)


@converts("nn.SequentialSplitBatch", traits=Traits(output="children", flow="chain"))
def sequential_split_batch(layer: Layer) -> nn.Sequential:
    """nn.SequentialSplitBatch(size), of facebookresearch/multipathnet

    An nn.Sequential; Torch7 runs large batches in pieces, here they run whole.
    """
    layer.ignore("batch_size", "output_", "parent_output")
    return nn.Sequential(*layer.modules())


class ImageTransform(nn.Module):
    """Puts the planes of an image (3, H, W) into another order, scales it, subtracts a mean, divides by a deviation.

    Args:
        order: the planes (0-based).
        scale: factor.
        divide: divide by a deviation.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, order: list[int], scale: float = 1.0, divide: bool = False) -> None:
        super().__init__()
        self.order = order
        self.scale = scale
        self.divide = divide
        self.register_buffer("mean", torch.empty(3, 1, 1))
        if divide:
            self.register_buffer("std", torch.empty(3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.stack([x[plane] for plane in self.order]) * self.scale - self.mean
        return y / self.std if self.divide else y

    def extra_repr(self) -> str:
        return f"order={self.order}, scale={self.scale}, divide={self.divide}"


@converts("fbcoco.ImageTransformer")
def image_transformer(layer: Layer) -> ImageTransform:
    """fbcoco.ImageTransformer(mean, [std], [scale = 1], [swap]), of facebookresearch/multipathnet

    Takes a single image.
    """
    order = [i - 1 for i in layer.integers("swap", (1, 2, 3))] if layer.value("swap", None) else [0, 1, 2]
    divide = bool(layer.value("std", None))
    module = ImageTransform(order, layer.number("scale", 1.0), divide)
    dtype = torch.float64 if layer.text("_type", "") == "torch.DoubleTensor" else torch.float32
    for name in ("mean", "std")[: 1 + divide]:
        value = layer.value(name)
        numbers = torch.tensor(layer.numbers(name), dtype=dtype)
        if numbers.numel() < 3 or (isinstance(value, LuaTable) and len(value) != 3):
            layer.refuse(f"its {name} should have 3 numbers")
        setattr(module, name, numbers[:3].reshape(3, 1, 1))
    return module
