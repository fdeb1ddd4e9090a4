"""Sizes worth trying where nothing was recorded: from the first layer that has weights, and from what comes later."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain, islice, product
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from ..base.messages import counted
from ..model.conversion import ConvertedModel
from ..model.layer_record import LayerRecord
from ..t7 import Storage
from .dry_run import dry_run
from .input_readers import FRAMES, IMAGES, INDICES, SEQUENCES, VOLUMES, Entry, channels_of, kind_of
from .parse import spelled
from .random_input import make_input
from .search_budget import Budget

#: Sizes of images that are tried, the usual ones first; then all from small to large.
USUAL = (224, 227, 231, 221, 256, 299, 32, 64, 28, 96, 128, 112, 84, 48, 16, 8)
SIDES = (*USUAL, *range(4, 261, 2), *range(5, 261, 2), 288, 300, 320, 384, 448, 512)
_LENGTHS = (16, 32, 8, 64, 100, 128, 4, 256, 1014, *range(2, 1025))

#: So many lengths are tried before a single index for each sample.
_BEFORE_ONE = 9

#: How many lengths are combined with each other where parts of a table have different ones.
_FEW_LENGTHS = 20

#: How many lengths are tried before one is taken that any other would do for as well.
ANY_LENGTH = 6

#: Volumes: clips of a film first, then cubes.
_DEPTHS = (16, 8, 32, 4)
_CLIPS = (112, *USUAL)
_CUBES = (32, 64, 16, 128, 30, 24, 48, *range(4, 129))

#: Rows of images that are read column by column: those of text lines, those of spectrograms.
_TEXT_ROWS = (32, 16, 48, 64, 24, 40)
_SPECTRUM_ROWS = (161, 129, 257, 201, 81, 513, 40, 80, 64, 128)
_COLUMNS = 100

#: So many oblong images are named beside one that is likelier.
_FEW_OBLONG = 4

#: Of fewer rows nobody makes one long row: they are numbers of another kind.
_LEAST_SIDE = 4

#: The largest side of an oblong image that is looked for.
_LARGEST = 1024


#: Where sizes come from: a run left them in the file; the layers tell; the arithmetic of the feature maps leaves no
#: others; they follow from what layers refuse; a View fixes how many samples there are; they are those of one sample
#: without a batch.
Source = Literal["recorded", "layers", "arithmetic", "solved", "fixed batch", "unbatched"]


class Candidate(NamedTuple):
    """Sizes that a model may take.

    Attributes:
        sizes: a tuple, or a nested list of them.
        reason: why these, in words.
        source: where they come from.
        arbitrary: is it one size of many that were worth trying?
        samples: the same with two samples, where these are of one, or of one in no batch; they are taken if the model
            gives the same for each; None: there are no such.
        batch: two samples of what is no batch itself, as the model shows, where no layer tells how many dimensions
            a sample has; None: there are no such.
    """

    sizes: Any
    reason: str
    source: Source = "layers"
    arbitrary: bool = False
    samples: Any = None
    batch: Any = None


def tried_sizes(entry: Entry) -> Iterator[Candidate]:
    """Sizes of one tensor that are worth trying."""
    if entry.slices is None:
        if entry.kind == IMAGES and entry.passed and not entry.steps:
            yield from _given_by_view(entry.passed[0])
        yield from _whole_sizes(entry)
        return
    axis, count = entry.slices
    for found in _whole_sizes(entry):
        sizes, told = found.sizes, found._replace(reason=f"{found.reason}; nn.Parallel takes {counted(count, 'slice')}")
        if entry.kind == IMAGES and axis == 1 and sizes[1] == 1:  # each slice becomes an image of one channel
            yield told._replace(sizes=(sizes[0], count, *sizes[2:]))
        if axis <= len(sizes):
            yield told._replace(sizes=(*sizes[:axis], count, *sizes[axis:]))


def crossed_sizes(entry: Entry) -> Iterator[Candidate]:
    """The likeliest sizes of one part of a table, to be combined with any of the other parts."""
    if entry.kind == IMAGES and not entry.steps:
        yield from _images(entry, (1, *USUAL))
    elif entry.kind == INDICES:
        yield Candidate((2,), f"{entry.where} takes indices, one for each sample")
        yield from islice(tried_sizes(entry), _FEW_LENGTHS)
    else:
        yield from islice(tried_sizes(entry), 2)


def _images(entry: Entry, sides: Iterable[int]) -> Iterator[Candidate]:
    size, where = entry.channels, entry.where
    ahead: tuple[int, ...] = (5,) if entry.steps else ()
    steps = ", in each of 5 steps" if entry.steps else ""
    for side in sides:
        for planes in (size,) if size else (3, 1):
            told = f"{where} takes {counted(size, 'channel')}{steps}" if size else "its first layers take images"
            yield _tried((*ahead, 2, planes, side, side), f"{told}; {side}x{side} was tried and fits")


def _tried(sizes: tuple[int, ...], reason: str) -> Candidate:
    return Candidate(sizes, reason, arbitrary=True)


def _whole_sizes(entry: Entry) -> Iterator[Candidate]:
    size, where = entry.channels, entry.where
    ahead: tuple[int, ...] = (5,) if entry.steps else ()
    steps = ", in each of 5 steps" if entry.steps else ""
    if entry.vector:
        yield Candidate((2,), "a vector of indices")
    elif entry.kind == INDICES:
        if entry.steps:
            yield Candidate((5, 2), f"{where} takes indices, one for each sample; 5 steps were tried")
        one = Candidate((2,), f"{where} takes indices, one for each sample")
        for number, length in enumerate(_LENGTHS):
            if number == _BEFORE_ONE:
                yield one
            yield _tried((2, length), f"{where} takes indices; the length {length} was tried and fits")
        yield one
    elif entry.kind == SEQUENCES:
        first = entry.first is not None and bool(
            entry.first.object.get("batchfirst", entry.first.object.get("batchFirst"))
        )
        told = f"{where} takes sequences of {counted(size, 'number')}; 5 steps were tried"
        yield Candidate((2, 5, size) if first else (5, 2, size), told)
    elif entry.kind == FRAMES:
        for length in _LENGTHS:
            told = f"{where} takes frames of {counted(size, 'number')}; the length {length} was tried and fits"
            yield _tried((2, length, size), told)
    elif entry.kind == IMAGES:
        # generators begin with a single pixel; each step of a sequence is one run more
        generator = entry.first is not None and entry.first.traits.enlarges
        yield from _images(entry, (1, 4, 8, *SIDES) if generator else (64, 32, *SIDES) if entry.steps else SIDES)
    elif entry.kind == VOLUMES:
        clips, more = product(_CLIPS, _DEPTHS), product(SIDES, _DEPTHS)
        cubes = ((side, side) for side in _CUBES)
        for side, depth in chain(clips, cubes, more):
            told = f"{where} takes {counted(size, 'channel')}; {depth}x{side}x{side} was tried and fits"
            yield _tried((2, size, depth, side, side), told)
    elif size:
        flat = Candidate((*ahead, 2, size), f"{where} takes {counted(size, 'number')}{steps}")
        so_does = f"(so does {spelled(flat.sizes)})"
        merging = next((record for record in entry.passed if record.traits.merges_dims), None)
        if merging is not None and not entry.steps:  # it is there for inputs of more dimensions
            told = f"{flat.reason}, and {merging.typename} any dimensions before them {so_does}"
            yield flat._replace(sizes=(2, 5 if size != 5 else 7, size), reason=told)
        if any(record.traits.keeps_numbers and not record.traits.keeps_size for record in entry.passed):
            # who gives numbers another shape does not get them flat: then no source or graph leaves that out
            yield from (item._replace(reason=f"{item.reason} {so_does}") for item in _flattened(entry))
        yield flat
        yield from _flattened(entry)


def _given_by_view(record: LayerRecord) -> Iterator[Candidate]:
    """What a View of fixed size at the front makes images of: those without a channel of 1, or a row of numbers."""
    size = record.object.get("size")
    if record.traits.keeps_numbers and isinstance(size, Storage) and len(size) > 1 and min(size.data) > 0:
        sizes = [int(n) for n in size.data]
        told = f"{record.typename} at {record.path or 'the top'} makes {spelled(tuple(sizes))} of each sample"
        if sizes[0] == 1:
            yield Candidate((2, *sizes[1:]), told)
        else:  # of images that have their channels already there would be nothing to make
            yield Candidate((2, math.prod(sizes)), f"{told} (so does {spelled((2, *sizes))})")


def _flattened(entry: Entry) -> Iterator[Candidate]:
    """Square images of as many numbers as a Linear takes, for those behind a View."""
    size = entry.channels
    for channels in (1, 3):
        side = math.isqrt(size // channels)
        if channels * side * side == size and side >= _LEAST_SIDE:
            told = f"{entry.where} takes {counted(size, 'number')}, an image of {counted(channels, 'channel')}"
            yield Candidate((2, channels, side, side), told)


def single_sizes(conv: ConvertedModel, entry: Entry) -> Iterator[Candidate]:
    """One image, not in a batch, for networks with a View that knows of none."""
    if any(record.traits.recurrent for record in conv.layers):  # these take columns of any image
        return
    for side in SIDES:
        for planes in (entry.channels,) if entry.channels else (3, 1):
            told = f"{entry.where} takes {counted(planes, 'channel')}" if entry.channels else "it takes images"
            told += f"; {side}x{side} was tried and fits, one image at a time, in no batch"
            yield Candidate((planes, side, side), told, "unbatched")


def column_sizes(conv: ConvertedModel, entry: Entry, budget: Budget) -> Iterator[Candidate]:
    """Images for networks that read them as a sequence of columns.

    The feature maps become one row high, or all rows of a column together are what a recurrent layer takes.
    """
    recurrent = [record for record in conv.layers if record.traits.recurrent]
    if not recurrent or not entry.channels:
        return
    takes = f"{entry.where} takes {counted(entry.channels, 'channel')}"
    measure = _Measure(conv, entry.channels, budget)
    for height in _TEXT_ROWS:
        # what Torch7 unrolls step by step is slow to export
        columns = 2 * height if recurrent[0].traits.flow == "steps" else _COLUMNS
        if measure.of(height, columns)[0] == 1:
            why = f"{height} rows become one for {recurrent[0].typename}, and {columns} columns were taken"
            yield Candidate((2, entry.channels, height, columns), f"{takes}; {why}")
    behind = conv.layers[conv.layers.index(recurrent[0]) :]
    width = next((taken for taken in map(channels_of, behind) if taken), 0)
    if not width or not measure.planes or width % measure.planes:
        return
    rows = measure.sides(0, width // measure.planes)
    for height in sorted(rows, key=_order_of_rows)[:1]:
        among = f", as {rows[0]} to {rows[-1]} rows do" if len(rows) > 1 else ""
        why = f"{height} rows become the {width} numbers that {recurrent[0].typename} takes{among}"
        told = f"{takes}; {why}, and {2 * height} columns were taken"
        yield Candidate((2, entry.channels, height, 2 * height), told)


def _order_of_rows(rows: int) -> tuple[int, int]:
    return (_SPECTRUM_ROWS.index(rows) if rows in _SPECTRUM_ROWS else len(_SPECTRUM_ROWS), rows)


class _Enough(Exception):
    """Ends a run of which no more is needed."""


def oblong_sizes(conv: ConvertedModel, entry: Entry, budget: Budget) -> Iterator[Candidate]:
    """Sizes of oblong images from the arithmetic of the first View or Linear behind the feature maps.

    The network is measured at some sizes; then those are found whose last map has as many numbers as the Linear wants.
    """
    wanted = _wanted(conv)
    if not entry.channels or not wanted:
        return
    measure = _Measure(conv, entry.channels, budget)
    for record, (high, wide) in _rows_and_columns(conv, measure.planes):
        sides = measure.sides(0, high), measure.sides(1, wide)
        if all(sides):
            sizes = (2, entry.channels, *(min(side, key=_roundness) for side in sides))
            told = f"{record.typename} at {record.path or 'the top'} leaves {high} rows and {wide} columns"
            others = [spelled(other) for other in _shared_otherwise(measure, high * wide, sizes)]
            so_do = f" (so do {', '.join(others)}: --input-shape chooses what the model is for)" if others else ""
            yield Candidate(sizes, f"{entry.where} takes {counted(entry.channels, 'channel')}; {told}{so_do}")
    found: dict[tuple[int, ...], float] = {}
    flat = only_along(conv)
    for count in wanted:
        for height, width in _factors(count // measure.planes if measure.planes else 0, measure.planes, count):
            if flat is not None and (height, width)[flat] != 1:
                continue
            across = 0 if flat is None else 1  # the one row or column stays one
            rows = [1] if flat == 0 else measure.sides(0, height, across)
            columns = [1] if flat == 1 else measure.sides(1, width, across)
            if rows and columns and height != width:
                sizes = (2, entry.channels, min(rows, key=_roundness), min(columns, key=_roundness))
                found[sizes] = max(height, width) / min(height, width)
    for fitting in sorted(found, key=found.__getitem__):
        along = "" if flat is None else f", of one {('row', 'column')[flat]} as its windows are"
        told = f"{entry.where} and the first Linear leave only an oblong image{along}, {spelled(fitting)}"
        yield Candidate(fitting, told, "arithmetic")


def only_along(conv: ConvertedModel) -> int | None:
    """The side (0: rows, 1: columns) that no layer looks along, as in those of sequences; None: there is none."""
    windows = {
        (record.object.get("kH"), record.object.get("kW")) for record in conv.layers if kind_of(record) == IMAGES
    } - {(None, None)}
    sides = [side for side in (0, 1) if windows and {window[side] for window in windows} == {1.0}]
    return sides[0] if len(sides) == 1 else None


def _rows_and_columns(conv: ConvertedModel, planes: int) -> Iterator[tuple[LayerRecord, tuple[int, int]]]:
    """Views that make of each sample a matrix of (planes · rows, columns), as those before a recurrent layer do."""
    for record in conv.layers:
        size = record.object.get("size")
        if record.traits.keeps_numbers and isinstance(size, Storage) and record.object.get("numInputDims") == 3:
            numbers = [int(n) for n in size.data]
            if len(numbers) == 2 and min(numbers) > 0 and planes and numbers[0] % planes == 0:
                yield record, (numbers[0] // planes, numbers[1])


def _shared_otherwise(measure: _Measure, area: int, chosen: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """A few other sizes of images whose last map has as many elements."""
    for height, width in sorted(_factors(area, 1, area), key=_oblongness)[:_FEW_OBLONG]:
        sides = measure.sides(0, height), measure.sides(1, width)
        sizes = (*chosen[:2], *(min(side, key=_roundness) for side in sides if side))
        if len(sizes) == len(chosen) and sizes != chosen:
            yield sizes


def _oblongness(sides: tuple[int, int]) -> float:
    return max(sides) / min(sides)


def _factors(area: int, planes: int, count: int) -> list[tuple[int, int]]:
    if area * planes != count:
        return []
    return [(n, area // n) for n in range(1, min(area, _LARGEST) + 1) if area % n == 0 and area // n <= _LARGEST]


class _Measure:
    """How large the last feature map is, by the size of the image."""

    def __init__(self, conv: ConvertedModel, channels: int, budget: Budget) -> None:
        self.conv = conv
        self.budget = budget
        self.channels = channels
        self.deepest = 0
        self._maps: dict[tuple[int, int], tuple[int, ...]] = {}
        self.planes = next((planes for planes in (self.of(side, side)[2] for side in (224, 64, 32)) if planes), 0)

    def of(self, height: int, width: int) -> tuple[int, ...]:
        """Height, width and planes of the last map; zeros for an image that is too small."""
        if (height, width) not in self._maps:
            maps: list[tuple[int, ...]] = []

            def note(record: LayerRecord, output: Any) -> None:
                if isinstance(output, torch.Tensor) and output.dim() == 4:
                    maps.append(tuple(output.shape))
                elif isinstance(output, torch.Tensor) and output.dim() < 4:
                    raise _Enough

            with self.budget:
                dry_run(self.conv, make_input(self.conv, (2, self.channels, height, width)), note)
            self.deepest = max(self.deepest, len(maps))
            whole = len(maps) == self.deepest > 0  # a small image does not come as far
            self._maps[height, width] = (*maps[-1][2:], maps[-1][1]) if whole else (0, 0, 0)
        return self._maps[height, width]

    def sides(self, axis: int, extent: int, across: int = 0) -> list[int]:
        """The sides of an image whose last map has this extent; the other side is `across`, or as long."""
        first, behind = (self._first(axis, wanted, across) for wanted in (extent, extent + 1))
        return [] if self._extent(axis, first, across) != extent else list(range(first, behind))

    def _extent(self, axis: int, side: int, across: int) -> int:
        return self.of(across or side, side)[axis] if axis else self.of(side, across or side)[axis]

    def _first(self, axis: int, extent: int, across: int) -> int:
        """The smallest side whose map is at least so large (maps grow with the image)."""

        def size(side: int) -> int:
            return self._extent(axis, side, across)

        return bisect_left(range(_LARGEST), extent, 1, key=size)


def _wanted(conv: ConvertedModel) -> set[int]:
    """How many numbers the layers want that come right behind feature maps."""
    found: set[int] = set()
    for record in conv.layers:
        size = record.object.get("size")
        if record.traits.keeps_numbers and isinstance(size, Storage):
            numbers = [int(n) for n in size.data if n > 0]
            # an nn.Reshape, or a View that is told so; others may hold the batch
            within_a_sample = any(record.object.get(name) is not None for name in ("nelement", "numInputDims"))
            if len(numbers) == len(size) and (len(size) == 1 or within_a_sample):
                found.add(int(torch.tensor(numbers).prod()))
        if isinstance(record.module, nn.Linear):
            return {*found, record.module.in_features}
    return found


def _roundness(side: int) -> tuple[int, int]:
    """What is least for the roundest of several sizes that do."""
    return (-min(side & -side, 32), side)
