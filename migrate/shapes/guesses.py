"""Sizes worth trying where nothing was recorded: from the first layer that has weights, and from what comes later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch

from ..build import LayerRecord
from ..conversion import Conversion
from ..t7 import Storage, Tensor
from .entries import FRAMES, IMAGES, INDICES, SEQUENCES, VOLUMES, Entry
from .making import make_input
from .running import dry_run

#: Sizes of images that are tried, the usual ones first; then all from small to large.
_USUAL = (224, 32, 64, 28, 96, 128, 256, 227, 112, 84, 48, 16, 8)
SIDES = (*_USUAL, *range(4, 261, 2), *range(5, 261, 2), 299, 288, 300, 320, 384, 448, 512)
_LENGTHS = (16, 32, 8, 64, 100, 128, 4, 256, *range(5, 300, 7))
_DEPTHS = (16, 8, 32, 4)

#: Sides at which a network is measured, to know which sizes of an image give which of a feature map.
_MEASURED = range(8, 521, 4)


def tried_sizes(entry: Entry) -> Iterator[tuple[Any, str]]:
    """Sizes of one tensor that are worth trying, each with a reason."""
    size, where = entry.channels, entry.where
    ahead: tuple[int, ...] = (5,) if entry.steps else ()
    steps = ", in each of 5 steps," if entry.steps else ""
    if entry.kind == INDICES:
        for length in _LENGTHS:
            yield (2, length), f"{where} takes indices; the length {length} was tried and fits"
        yield (2,), f"{where} takes indices, one for each sample"
    elif entry.kind == SEQUENCES:
        first = entry.first is not None and bool(
            entry.first.object.get("batchfirst", entry.first.object.get("batchFirst"))
        )
        yield (2, 5, size) if first else (5, 2, size), f"{where} takes sequences of {size} numbers; 5 steps were tried"
    elif entry.kind == FRAMES:
        for length in _LENGTHS:
            yield (2, length, size), f"{where} takes frames of {size} numbers; the length {length} was tried and fits"
    elif entry.kind == IMAGES:
        # generators begin with a single pixel
        generator = "FullConvolution" in where
        for side in (1, 4, 8, *SIDES) if generator else SIDES:
            for planes in (size,) if size else (3, 1):
                told = f"{where} takes {size} channels{steps}" if size else "its first layers take images"
                yield (*ahead, 2, planes, side, side), f"{told}; {side}x{side} was tried and fits"
    elif entry.kind == VOLUMES:
        for side, depth in product(SIDES, _DEPTHS):
            yield (
                (2, size, depth, side, side),
                f"{where} takes {size} channels; {depth}x{side}x{side} was tried and fits",
            )
    elif size:
        yield (*ahead, 2, size), f"{where} takes {size} numbers{steps.rstrip(',')}"
        # a Linear behind a View: the input may be an image
        for channels in (1, 3):
            side = round((size / channels) ** 0.5)
            if channels * side * side == size:
                yield (2, channels, side, side), f"{where} takes {size} numbers, an image of {channels} channels"


def text_line_sizes(conv: Conversion, entry: Entry) -> Iterator[tuple[Any, str]]:
    """Images for networks that read them as a sequence of columns: the feature maps become one row high."""
    recurrent = [r for r in conv.layers if r.typename.split(".")[-1] in ("Sequencer", "BiSequencer", "BLSTM", "LSTM")]
    if not recurrent or not entry.channels:
        return
    for height in (32, 16, 48, 64, 24, 40):
        maps = _Maps()
        dry_run(conv, make_input(conv, (2, entry.channels, height, 100)), maps)
        if maps.sizes and maps.sizes[-1][2] == 1:
            why = f"{height} rows become one for {recurrent[0].typename}, and 100 columns were taken"
            yield (2, entry.channels, height, 100), f"{entry.where} takes {entry.channels} channels; {why}"


class _Maps:
    """Keeps the sizes of feature maps in the order in which they appear."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []
        self.layers: list[LayerRecord] = []
        self.flat = False

    def __call__(self, record: LayerRecord, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.dim() == 4 and not self.flat:
            self.sizes.append(tuple(output.shape))
            self.layers.append(record)
        elif isinstance(output, torch.Tensor) and output.dim() < 4:
            self.flat = True


def oblong_sizes(conv: Conversion, entry: Entry) -> list[tuple[int, ...]]:
    """Sizes of oblong images from the arithmetic of the first View or Linear behind the feature maps.

    The network is measured at many sizes; then those are found whose last map has as many numbers as the Linear wants.
    """
    wanted = _wanted(conv)
    if entry.kind != IMAGES or not entry.channels or not wanted:
        return []
    heights: defaultdict[int, list[int]] = defaultdict(list)
    widths: defaultdict[int, list[int]] = defaultdict(list)
    planes = 0
    for side in _MEASURED:
        maps = _Maps()
        dry_run(conv, make_input(conv, (2, entry.channels, side, side)), maps)
        if maps.sizes:
            _, planes, height, width = maps.sizes[-1]
            heights[height].append(side)
            widths[width].append(side)
    found: list[tuple[int, ...]] = []
    for height, width in sorted(product(heights, widths), key=_squareness):
        if planes * height * width in wanted and height != width:
            found.append((2, entry.channels, _nicest(heights[height]), _nicest(widths[width])))
    return found


def _wanted(conv: Conversion) -> set[int]:
    """How many numbers the layers want that come right behind feature maps."""
    found: set[int] = set()
    for record in conv.layers:
        name, weight, size = record.typename.split(".")[-1], record.object.get("weight"), record.object.get("size")
        if name in ("View", "Reshape") and isinstance(size, Storage):
            numbers = [int(n) for n in size.data if n > 0]
            if len(numbers) == len(size) == 1 or (name == "Reshape" and len(numbers) == len(size)):
                found.add(int(torch.tensor(numbers).prod()))
        if name == "Linear" and isinstance(weight, Tensor):
            return {*found, weight.size[1]}
    return found


def _squareness(pair: tuple[int, int]) -> tuple[float, int]:
    return max(pair) / min(pair), pair[0]


def _nicest(sides: list[int]) -> int:
    """The roundest of several sizes that do."""
    return min(sides, key=_roundness)


def _roundness(side: int) -> tuple[int, int]:
    return (-min(side & -side, 32), side)
