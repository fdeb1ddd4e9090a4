"""jcjohnson/densecap: layers for boxes (centre x, centre y, width, height)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts, converts_to
from ....model.traits import Traits
from ...pointwise.changed_gradients import PASSES

PROJECT = "jcjohnson/densecap"


class ApplyBoxTransform(nn.Module):
    """Moves boxes: of [boxes (…, 4), moves (…, 4)], each centre by a share of its size, and the log of its size."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        boxes, moves = x
        size = boxes[..., 2:]
        return torch.cat([moves[..., :2] * size + boxes[..., :2], moves[..., 2:].exp() * size], -1)


converts_to(ApplyBoxTransform, "nn.ApplyBoxTransform", project=PROJECT, ignore=("buffer", "output_view"))


class InvertBoxTransform(nn.Module):
    """The moves (B, 4) that turn boxes into others, of [boxes (B, 4), others (B, 4)]."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        boxes, others = x
        size = boxes[:, 2:]
        return torch.cat([(others[:, :2] - boxes[:, :2]) / size, (others[:, 2:] / size).log()], 1)


converts_to(InvertBoxTransform, "nn.InvertBoxTransform", project=PROJECT)


class Anchors(nn.Module):
    """Boxes around every place of a map (N, C, H, W), as (N, 4 K, H, W); of the map only the size counts.

    Args:
        start: x and y of the first place.
        step: x and y between places.
        count: K, how many widths and heights there are.
    """

    anchors: torch.Tensor

    def __init__(self, start: list[float], step: list[float], count: int) -> None:
        super().__init__()
        self.start = start
        self.step = step
        self.count = count
        self.register_buffer("anchors", torch.empty(2, count))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.boxes(x).flatten(1, 2)

    def boxes(self, x: torch.Tensor) -> torch.Tensor:
        """The boxes as (N, K, 4, H, W)."""
        height, width = x.shape[2], x.shape[3]
        sizes = (x.shape[0], self.count, height, width)
        across = torch.arange(width, dtype=x.dtype, device=x.device) * self.step[0] + self.start[0]
        down = torch.arange(height, dtype=x.dtype, device=x.device) * self.step[1] + self.start[1]
        wide, high = (row.to(x.dtype).reshape(-1, 1, 1).expand(sizes) for row in self.anchors)
        return torch.stack([across.expand(sizes), down.unsqueeze(1).expand(sizes), wide, high], 2)

    def extra_repr(self) -> str:
        return f"start={self.start}, step={self.step}, count={self.count}"


class MakeBoxes(Anchors):
    """Moves the boxes around every place by (N, 4 K, H, W), as ApplyBoxTransform does; (N, K H W, 4)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        boxes = self.boxes(x)
        moves = x.reshape(x.shape[0], self.count, 4, *x.shape[2:])
        size = boxes[:, :, 2:]
        moved = torch.cat([moves[:, :, :2] * size + boxes[:, :, :2], moves[:, :, 2:].exp() * size], 2)
        return moved.permute(0, 1, 3, 4, 2).flatten(1, 3)


@converts("nn.MakeAnchors", "nn.MakeBoxes", traits=Traits(reads="images"))
def make_anchors(layer: Layer) -> Anchors:
    """nn.MakeAnchors(x0, y0, sx, sy, anchors), of jcjohnson/densecap

    Of its input only the size counts. nn.MakeBoxes moves the boxes by its input.
    """
    layer.ignore("input_perm", "boxes", "raw_anchors", "wa_expand", "ha_expand", "dtx", "dty", "dtw", "dth")
    start, step = [layer.number("x0"), layer.number("y0")], [layer.number("sx"), layer.number("sy")]
    cls = MakeBoxes if layer.typename == "nn.MakeBoxes" else Anchors
    anchors = layer.tensor("anchors").detach()
    return layer.put(layer.make(cls, start, step, anchors.shape[1]), "anchors", anchors)


class FirstRows(nn.Module):
    """Of [features, others] as many rows of the features as the others have, all if they have none."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] if x[1].numel() == 0 else x[0][: x[1].shape[0]]


converts_to(
    FirstRows,
    "nn.PosSlicer",
    project=PROJECT,
    ignore=("grad_features", "grad_gt_features"),
    traits=replace(PASSES, reuses="nothing"),
)


class BoxFeatures(nn.Module):
    """Turns (N, K D, H, W) into a row of D numbers for each of K boxes at each place, (N, K H W, D)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        planes = x.reshape(x.shape[0], self.count, -1, *x.shape[2:])
        return planes.permute(0, 1, 3, 4, 2).flatten(1, 3)

    def extra_repr(self) -> str:
        return f"{self.count}"


@converts("nn.ReshapeBoxFeatures", traits=Traits(reads="images"))
def reshape_box_features(layer: Layer) -> BoxFeatures:
    """nn.ReshapeBoxFeatures(k), of jcjohnson/densecap"""
    layer.ignore("input_perm", "gradInput_perm")
    return BoxFeatures(layer.integer("k"))


class BoxToAffine(nn.Module):
    """Boxes (B, 4) in an image as affine matrices (B, 2, 3) for a grid of (y, x) between -1 and 1.

    Args:
        height: of the image.
        width: of the image.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height = height
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zero = torch.zeros_like(x[:, 0])
        across = (x[:, 0] * 2 - 1 - self.width) / (self.width - 1)
        down = (x[:, 1] * 2 - 1 - self.height) / (self.height - 1)
        rows = [x[:, 3] / self.height, zero, down, zero, x[:, 2] / self.width, across]
        return torch.stack(rows, 1).reshape(-1, 2, 3)

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}"


@converts("nn.BoxToAffine")
def box_to_affine(layer: Layer) -> BoxToAffine:
    """nn.BoxToAffine(), of jcjohnson/densecap

    The size of the image is what the file holds of it; Torch7 wants it anew before each call (setSize).
    """
    if not (layer.has("H") and layer.has("W")):
        layer.refuse("the size of the image is missing, which Torch7 wants before each call (setSize)")
    layer.note("it keeps the size of the image that the file holds; Torch7 wants it anew before each call (setSize)")
    return BoxToAffine(layer.integer("H"), layer.integer("W"))


class AddDecay(torch.autograd.Function):
    """The input; its gradient is multiplied by a number, and a multiple of the input is added."""

    @staticmethod
    def forward(x: torch.Tensor, weight: float, factor: float) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[torch.Tensor, float, float], output: torch.Tensor) -> None:
        x, ctx.weight, ctx.factor = inputs  # type: ignore[attr-defined]
        ctx.save_for_backward(x)  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: object, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return ctx.weight * x + ctx.factor * grad, None, None  # type: ignore[attr-defined]


class Regularize(nn.Module):
    """Returns its input; on the way back `weight` times it is added to the gradient, which `factor` multiplies."""

    def __init__(self, weight: float, factor: float = 1.0) -> None:
        super().__init__()
        self.weight = weight
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = AddDecay.apply(x, self.weight, self.factor)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"weight={self.weight}, factor={self.factor}"


@converts("nn.RegularizeLayer", traits=replace(PASSES, reuses="nothing", keeps_size=True, keeps_numbers=True))
def regularize_layer(layer: Layer) -> Regularize:
    """nn.RegularizeLayer(weight, [gradMul = 1]), of jcjohnson/densecap

    Returns its input; only the gradient changes.
    """
    layer.ignore("loss")
    return Regularize(layer.number("w"), layer.number("gradMul", 1.0))
