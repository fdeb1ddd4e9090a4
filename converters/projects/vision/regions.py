"""jcjohnson/densecap: sampling and comparing of regions of an image, their losses and captions."""

from __future__ import annotations

from operator import attrgetter

import torch
from torch import nn
from torch.nn import functional as F

from ....model.layer import Layer
from ....model.registry import converts, converts_to, module_form
from ....model.traits import Traits
from ....t7 import LuaObject, LuaTable
from ...criterions.classification import cross_entropy_criterion
from .densecap import PROJECT, BoxToAffine

CRITERION = Traits(criterion=True)


class SampleOneImage(nn.Module):
    """Samples an image (height, width, features) at several grids of (y, x); beyond the border it is zero."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        image, grids = x
        images = image.permute(2, 0, 1).expand(grids.shape[0], -1, -1, -1)
        return F.grid_sample(images, grids.flip(-1), align_corners=True).permute(0, 2, 3, 1)


@converts("nn.BatchBilinearSamplerBHWD", "nn.NaiveBatchBilinearSamplerBHWD")
def batch_bilinear_sampler(layer: Layer) -> SampleOneImage:
    """nn.BatchBilinearSamplerBHWD(), of jcjohnson/densecap

    Takes {an image, grids}.
    """
    layer.ignore("inputImageView", "gradInputImageView", "sampler", "replicate", "replicate_out")
    return SampleOneImage()


class RoiSample(nn.Module):
    """Samples features (C, H, W) within boxes (B, 4) of an image of a given size, (B, C, height, width).

    Args:
        grid: makes grids of (y, x) of the boxes.
    """

    def __init__(self, grid: nn.Module) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        features, boxes = x
        grids: torch.Tensor = self.grid(boxes)
        images = features.expand(grids.shape[0], -1, -1, -1)
        return F.grid_sample(images, grids.flip(-1), align_corners=True)


@converts("nn.BilinearRoiPooling", traits=Traits(children=("net",)))
def bilinear_roi_pooling(layer: Layer) -> RoiSample:
    """nn.BilinearRoiPooling(height, width), of jcjohnson/densecap

    Takes {features (C, H, W), boxes (B, 4) in the image}. The size of the image is what the file holds of it; Torch7
    wants it anew before each call (setImageSize).
    """
    layer.ignore("height", "width", "called_forward", "called_backward", "net")
    image = [layer.number(name) if layer.has(name) else None for name in ("image_height", "image_width")]
    held = layer.value("box_to_affine")
    if not isinstance(held, LuaObject):
        layer.refuse(f"its field 'box_to_affine' should be a module and is {held!r}")
    size = [given or held.get(name) for given, name in zip(image, "HW", strict=True)]
    if not all(isinstance(extent, float) for extent in size):
        layer.refuse("the size of the image is missing, which Torch7 wants before each call (setImageSize)")
    layer.note(
        "it keeps the size of the image that the file holds; Torch7 wants it anew before each call (setImageSize)"
    )
    grid = layer.value("net")
    for place in ("modules", 1.0, "modules", 2.0, "modules", 2.0):
        grid = grid.get(place) if isinstance(grid, (LuaObject, LuaTable)) else None
    if not isinstance(grid, LuaObject):
        layer.refuse("its field 'net' does not hold the grid generator that its class puts at 1.2.2")
    return RoiSample(nn.Sequential(BoxToAffine(int(size[0]), int(size[1])), layer.convert(grid, "net.1.2.2")))


class Overlap(nn.Module):
    """The share of the union of boxes (N, A, 4) and (N, B, 4) that both cover, (N, A, B)."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        first, second = x[0].unsqueeze(2), x[1].unsqueeze(1)
        low = torch.maximum(self.corner(first, -1), self.corner(second, -1))
        high = torch.minimum(self.corner(first, 1), self.corner(second, 1))
        both = (high - low).clamp(min=0).prod(-1)
        return both / (first[..., 2:].prod(-1) + second[..., 2:].prod(-1) - both)

    def corner(self, boxes: torch.Tensor, sign: int) -> torch.Tensor:
        """Of boxes (x, y, width, height) around pixels a corner, the upper left (-1) or the lower right one (1)."""
        return boxes[..., :2] + sign * (boxes[..., 2:] - 1) / 2


converts_to(Overlap, "nn.BoxIoU", project=PROJECT, ignore=("area1", "area2", "overlap"))


class OneVersusAllLoss(nn.Module):
    """The mean logistic loss of every class; the target of a sample (1-based, 0: none) is its only positive one."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        classes = torch.arange(1, x.shape[1] + 1, device=x.device)
        positive = (target.reshape(-1, 1).long() == classes).to(x.dtype)
        return F.binary_cross_entropy_with_logits(x, positive)


@converts("nn.LogisticCriterion", traits=CRITERION)
def logistic_criterion(layer: Layer) -> OneVersusAllLoss:
    """nn.LogisticCriterion(), of jcjohnson/densecap

    Targets are 1-based; 0 is of no class.
    """
    layer.ignore("offsets", "log_den", "losses", "mask", "target_nonzero", "target_zero_mask")
    return OneVersusAllLoss()


@converts("nn.OurCrossEntropyCriterion", traits=CRITERION)
def our_cross_entropy_criterion(layer: Layer) -> nn.Module:
    """nn.OurCrossEntropyCriterion([weights]), of jcjohnson/densecap

    nn.CrossEntropyCriterion.
    """
    return cross_entropy_criterion(layer)


class BoxRegressionLoss(nn.Module):
    """The smooth L1 loss of moves of anchors against those that make them the target boxes; 0 where these are large.

    Args:
        weight: the factor of the loss.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: list[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        anchors, moves = x
        size = anchors[:, 2:]
        wanted = torch.cat([(target[:, :2] - anchors[:, :2]) / size, (target[:, 2:] / size).log()], 1)
        large = (wanted.abs().max(1, keepdim=True).values > 10).expand_as(wanted)
        loss = F.smooth_l1_loss(torch.where(large, 0, moves), torch.where(large, 0, wanted))
        return self.weight * loss

    def extra_repr(self) -> str:
        return f"weight={self.weight}"


@converts("nn.BoxRegressionCriterion", traits=CRITERION)
def box_regression_criterion(layer: Layer) -> BoxRegressionLoss:
    """nn.BoxRegressionCriterion([w = 1]), of jcjohnson/densecap

    Takes {anchors, moves} and target boxes; boxes that are too far away don't count.
    """
    layer.ignore("invert_transform", "target_transforms", "smooth_l1", "mask")
    return BoxRegressionLoss(layer.number("w", 1.0))


@converts("nn.BoxSampler", "nn.BoxSamplerHelper", "nn.LocalizationLayer", "DenseCapModel")
def sampler(layer: Layer) -> nn.Module:
    """nn.BoxSampler(options)

    Not converted, nor are nn.BoxSamplerHelper, nn.LocalizationLayer and DenseCapModel of jcjohnson/densecap: they
    choose among boxes, at random in training, by non-maximum suppression in evaluation.
    """
    layer.refuse(
        "it chooses among boxes, at random in training, by non-maximum suppression in evaluation; its networks (nets) "
        "can be converted by themselves (--key)"
    )


class DenseCaptions(nn.Module):
    """Of [vectors of regions (N, D), captions (N, T)] the scores of the words, (N, T + 2, V); 1-based words.

    Of an empty tensor of captions, the likeliest words, (N, length).

    Args:
        encoder: makes a word's vector of each region.
        words: makes vectors of words.
        rnn: makes scores of vectors (N, T, W).
        start: the word that begins a caption.
        null: the word in the place of 0.
        length: of a caption that is made.
    """

    def __init__(
        self, encoder: nn.Module, words: nn.Module, rnn: nn.Module, start: int, null: int, length: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.words = words
        self.rnn = rnn
        self.start = start
        self.null = null
        self.length = length

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        vectors, captions = x
        if captions.numel() > 0:
            return self.scores(vectors, torch.where(captions == 0, self.null, captions))
        made = torch.empty(vectors.shape[0], 0, dtype=torch.int64, device=vectors.device)
        for _ in range(self.length):
            next_word = self.scores(vectors, made)[:, -1].argmax(1, keepdim=True) + 1
            made = torch.cat([made, next_word], 1)
        return made

    def scores(self, vectors: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """The scores of the words behind a region, the start, and each of the words (N, T)."""
        begun = torch.cat([words.new_full((vectors.shape[0], 1), self.start), words], 1)
        scores: torch.Tensor = self.rnn(torch.cat([self.encoder(vectors), self.words(begun)], 1))
        return scores

    def extra_repr(self) -> str:
        return f"start={self.start}, null={self.null}, length={self.length}"


module_form("runs", DenseCaptions)(attrgetter("length"))
