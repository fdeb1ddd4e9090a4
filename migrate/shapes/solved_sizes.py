"""Sizes found by following what the layers refuse, or with a batch that they fix, where nothing else tells them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, product
from typing import Any

from torch import nn

from ..base.messages import counted
from ..base.tensor_trees import apply, leaves
from ..model.conversion import ConvertedModel
from ..model.layer_record import LayerRecord
from ..t7 import Storage
from .candidates import Candidate, tried_sizes
from .input_readers import FRAMES, IMAGES, INDICES, JOINED, NUMBERS, SEQUENCES, VOLUMES, Entries, Entry, kind_of
from .observed_run import BATCH, Runs
from .parse import spelled
from .search_budget import Budget
from .solve import LABELS, Solver, flat, replaced

#: How many runs a search may take.
_RUNS = 90

#: So many sizes are tried with a number of samples that a View fixes, and so many such numbers.
_FEW_FIXED, _FIXED = 8, 2

#: So many entries have lists of which only that is known that they are lists: what is joined can then be shared out.
_ENTRIES = 4

#: Lists of so many entries at most are looked for, and so many such lengths.
_LONGEST, _FEW_LENGTHS = 64, 4

#: Dimensions of a batch of images.
_IMAGES = 4

#: How large images are to begin with: networks halve them a few times.
_SIDE = 64

#: Images that are joined have so many channels, most likely, and no more are joined.
_PLANES, _JOINED = (3, 1, 2), 3


def solved_sizes(
    conv: ConvertedModel,
    entries: Entries,
    budget: Budget,
    *,
    batched: bool,
    mixed: list[Any] | None = None,
    most: int = _RUNS,
) -> Iterator[Candidate]:
    """Sizes that fit all layers.

    Args:
        conv: the converted model.
        entries: the layers that read its input.
        budget: how much may be computed.
        batched: does each part have a batch dimension? Otherwise none does.
        mixed: gets the sizes that fit, but of which the model makes no answer for each sample.
        most: how many runs it may take.
    """
    runs = Runs(conv, budget)
    solver = Solver(runs, most, lengths=_list_lengths(conv))
    left: list[Candidate] = []
    roots = [*_with_lists(conv, entries, batched=batched), *_roots(entries, batched=batched)]
    joined = list(_as_images(entries, conv.layers)) if batched else []
    known_images = isinstance(entries, dict) or not joined  # else they are likelier than what is known of nothing
    for found in solver.solve([*roots, *joined] if known_images else [*joined, *roots]):
        if found in roots and not _known(entries):
            return  # it takes anything, so nothing is known
        sizes, kept = _of_two(runs, _simpler(runs, found)) if batched else (found, True)
        told = _told(entries, sizes) + ("" if batched else ", one sample in no batch")
        candidate = Candidate(
            sizes, told, "solved" if batched else "unbatched", arbitrary=batched and _several(entries, sizes)
        )
        if kept:
            yield candidate
        elif not runs.on(sizes).splits:
            left.append(candidate)
            if mixed is not None:
                mixed.append(found)
    yield from left


def fixed_batches(conv: ConvertedModel, entry: Entry) -> Iterator[Candidate]:
    """Likely sizes with as many samples as a View knows of, for networks that take no other number of them."""
    for count, told in counted_samples(conv):
        for found in islice(tried_sizes(entry), _FEW_FIXED):
            axis = 1 if entry.steps else 0
            sizes = (*found.sizes[:axis], count, *found.sizes[axis + 1 :])
            yield Candidate(sizes, f"{found.reason}; {told}: it takes no other", "fixed batch")


def counted_samples(conv: ConvertedModel) -> Iterator[tuple[int, str]]:
    """How many samples each View fixes that does not know of a batch, and what is said of that."""
    for record in conv.layers:
        size = record.object.get("size")
        within_a_sample = any(record.object.get(name) is not None for name in ("nelement", "numInputDims"))
        if not record.traits.keeps_numbers or not isinstance(size, Storage) or within_a_sample:
            continue
        if len(size) > 1 and size.data[0] > 1:
            count = int(size.data[0])
            where = f"{record.typename} at {record.path or 'the top'}"
            yield count, f"{where} fixes the number of samples at {count}"


def solved_for_a_batch(conv: ConvertedModel, entries: Entries, budget: Budget) -> Iterator[Candidate]:
    """Sizes of the parts of a table that fit all layers, with as many samples as a View fixes.

    Args:
        conv: the converted model.
        entries: the layers that read its input.
        budget: how much may be computed.
    """
    for batch, why in islice(dict(counted_samples(conv)).items(), _FIXED):

        def fixed(sizes: tuple[int, ...], batch: int = batch) -> tuple[int, ...]:
            return tuple(batch if size == BATCH else size for size in sizes)

        begun = [*_with_lists(conv, entries, batched=True), *_roots(entries, batched=True)]
        roots = [apply(root, fixed, tuple) for root in begun]
        for found in Solver(Runs(conv, budget), _RUNS, batch, _list_lengths(conv)).solve(roots):
            if found not in roots:
                yield Candidate(found, f"{_told(entries, found)}; {why}: it takes no other", "fixed batch")


def lengths_of_one(conv: ConvertedModel, entries: Entries, budget: Budget, mixed: list[Any]) -> Iterator[Candidate]:
    """One sample of parts that have a length each, where what fits as a batch is none: its rows are mixed.

    Args:
        conv: the converted model.
        entries: the layers that read its input.
        budget: how much may be computed.
        mixed: sizes that fit, with a batch that is mixed.
    """
    runs = Runs(conv, budget)
    for found in mixed:
        lengths = iter(LABELS * 50)
        apart = apply(found, partial(_with_length, lengths), tuple)
        sizes = next((sizes for sizes in (apart, apply(found, _two, tuple)) if runs.on(sizes).fits), None)
        if sizes is not None:
            yield Candidate(sizes, f"{_told(entries, sizes)}, one sample in no batch", "unbatched")


def _with_length(lengths: Iterator[int], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of a part whose own length stands where a batch was."""
    return tuple(next(lengths) if size == BATCH else size for size in sizes)


def _several(entries: Entries, sizes: Any) -> bool:
    """May other images, volumes or lengths do as well?"""
    if isinstance(entries, dict):
        return False
    if entries.steps:
        return entries.kind == IMAGES and _square(sizes[1:])
    return _square(sizes) or (entries.kind in (VOLUMES, FRAMES, INDICES) and len(sizes) > 1)


def _square(sizes: Any) -> bool:
    """Are these the sizes of square images, of which others may do as well?"""
    return isinstance(sizes, tuple) and len(sizes) == _IMAGES and sizes[2] == sizes[3]


def _told(entries: Entries, sizes: Any) -> str:
    """What is known of the input, and where its sizes are from, in words that a comma can follow."""
    if isinstance(entries, dict):
        told = f"it takes a table of {len(entries)}; {spelled(sizes)} follows from what the layers refuse"
        lists = [str(number) for number, part in sorted(entries.items()) if _is_list(part)]
        return f"{told}, but no layer tells how long the lists at {', '.join(lists)} are" if lists else told
    kind = {IMAGES: "images", VOLUMES: "volumes", FRAMES: "frames", INDICES: "indices", NUMBERS: "numbers"}
    taken = kind.get(entries.kind, "")
    if entries.kind == IMAGES and _square(sizes) and sizes[1] == entries.channels:
        side = f"{sizes[2]}x{sizes[3]}"
        return f"{entries.where} takes {counted(entries.channels, 'channel')}; {side} was tried and fits"
    told = f"{entries.where} takes {taken}; " if taken and entries.where else ""
    return f"{told}{spelled(sizes)} follows from what the layers refuse"


def _known(entries: Entries) -> bool:
    """Is anything known of a part of the input?"""
    if isinstance(entries, dict):
        return any(map(_known, entries.values()))
    return bool(entries.kind or entries.channels)


def _of_two(runs: Runs, sizes: Any) -> tuple[Any, bool]:
    """The same sizes with a batch of two where the model takes that, and whether each output has one as well."""
    two = apply(sizes, _two, tuple)
    larger, smaller = runs.on(sizes), runs.on(two)
    if not smaller.fits or two == sizes:
        return sizes, False
    pairs = list(zip(leaves(larger.answer), leaves(smaller.answer), strict=False))
    kept = all(
        any((a, b) == (BATCH, 2) for a, b in zip(one.shape, other.shape, strict=False))
        for (_, one), (_, other) in pairs
    )
    return two, kept and bool(pairs)


def _simpler(runs: Runs, sizes: Any) -> Any:
    """The same sizes without a last dimension of 1 that a part need not have."""
    for number, leaf in enumerate(flat(sizes)):
        if _IMAGES > len(leaf) > 2 and leaf[-1] == 1:
            fewer = replaced(sizes, number, leaf[:-1])
            sizes = fewer if runs.on(fewer).fits else sizes
    return sizes


def _two(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(2 if size == BATCH else size for size in sizes)


def _roots(entries: Entries, *, batched: bool) -> Iterator[Any]:
    within = isinstance(entries, dict) or (_merges_rows(entries) and entries.kind == NUMBERS)
    for inside in (True, False) if within else (False,):
        first = _start(entries, iter(LABELS * 50), inside)
        yield first if batched else apply(first, _single, tuple)
    if isinstance(entries, Entry) and entries.kind == IMAGES and batched and _reshapes(entries):
        yield from ((BATCH, *LABELS[:rank]) for rank in (2, 1))
    if isinstance(entries, Entry) and not entries.kind:
        for rank in (2, 3, 4, 1) if batched else (1, 2, 3):
            yield (BATCH, *LABELS[1:rank]) if batched else LABELS[:rank]


def _with_lists(conv: ConvertedModel, entries: Entries, *, batched: bool) -> Iterator[Any]:
    """A table in which each list of any length has entries of the same sizes, as what is joined or added mostly has."""
    if not isinstance(entries, dict) or not any(map(_is_list, entries.values())):
        return
    known = {*_channels(entries), LABELS[0]}  # other sizes, so that what is equal has been made equal
    labels = iter([label for label in LABELS if label not in known] * 50)
    width = next(_widths_of_views(conv), 0)
    parts = [
        [(BATCH, width or next(labels))] * _ENTRIES if _is_list(part) else _start(part, labels, inside=True)
        for _, part in sorted(entries.items())
    ]
    yield parts if batched else apply(parts, _single, tuple)


def _widths_of_views(conv: ConvertedModel) -> Iterator[int]:
    """How many numbers the rows have that Views make of what was joined."""
    for record in conv.layers:
        size = record.object.get("size")
        if record.traits.keeps_numbers and isinstance(size, Storage) and len(size) > 1 and size.data[-1] > 1:
            yield int(size.data[-1])


def _list_lengths(conv: ConvertedModel) -> list[int]:
    """How long a list may be: as many weights as a Linear gives for its entries."""
    widths = {record.module.out_features for record in conv.layers if isinstance(record.module, nn.Linear)}
    return sorted(width for width in widths if 2 < width <= _LONGEST)[:_FEW_LENGTHS]


def _channels(entries: Entries) -> Iterator[int]:
    """How many channels or numbers the layers take that read the parts."""
    for part in entries.values() if isinstance(entries, dict) else ():
        yield from _channels(part)
    if isinstance(entries, Entry):
        yield entries.channels


def _is_list(entries: Entries) -> bool:
    """Is it a table of which no layer tells more than that all of its entries are joined, added or multiplied?"""
    if not isinstance(entries, dict) or any(map(_known, entries.values())):
        return False
    first = entries.get(1)
    chains = [first.passed, *first.beside] if isinstance(first, Entry) else []
    return any(chain[:1] and chain[0].traits.flow == "operands" for chain in chains)


def _as_images(entries: Entries, layers: Sequence[LayerRecord]) -> Iterator[Any]:
    """Images for parts of which nothing is known, as those that are joined before a layer tells their channels."""
    if not any(kind_of(record) == IMAGES for record in layers):
        return
    if isinstance(entries, Entry):
        if not entries.kind:
            yield from ((BATCH, LABELS[0], _SIDE, _SIDE), (BATCH, _SIDE, _SIDE))
        return
    begun = _start(entries, iter(LABELS * 50), inside=True)
    parts = [part for _, part in sorted(entries.items())]
    unknown = [i for i, part in enumerate(parts) if isinstance(part, Entry) and part.kind in ("", JOINED)]
    if 0 < len(unknown) <= _JOINED:
        for planes in product(_PLANES, repeat=len(unknown)):
            images = dict(zip(unknown, planes, strict=True))
            yield [(BATCH, images[i], _SIDE, _SIDE) if i in images else part for i, part in enumerate(begun)]


def _reshapes(entry: Entry) -> bool:
    """Does another layer change the sizes first? Then the input need not be images."""
    return any(not record.traits.keeps_size for record in entry.passed if record is not entry.first)


def _merges_rows(entry: Entry) -> bool:
    """Does a View make one long matrix of all rows first? Who gives it a matrix does not need it."""
    for record in entry.passed:
        size = record.object.get("size")
        if record.traits.keeps_numbers and isinstance(size, Storage):
            return [int(n) for n in size.data] == [-1, entry.channels]
    return False


def _single(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if BATCH not in sizes:
        return sizes
    axis = sizes.index(BATCH)
    return (*sizes[:axis], *sizes[axis + 1 :]) or (LABELS[0],)


def _start(entries: Entries, labels: Iterator[int], inside: bool) -> Any:
    """Sizes to begin with: what is known of a part, and a label for what is not."""
    if isinstance(entries, dict):
        return [_start(part, labels, inside) for _, part in sorted(entries.items())]
    size = entries.channels
    found: tuple[int, ...]
    if entries.vector:
        found = (BATCH,)
    elif entries.kind == INDICES:
        found = (BATCH,) if inside else (BATCH, next(labels))
    elif entries.kind == IMAGES:
        side = 1 if entries.first is not None and entries.first.traits.enlarges else _SIDE
        found = (BATCH, size or 3, side, side)
    elif entries.kind == VOLUMES:
        found = (BATCH, size, 32, 32, 32)
    elif entries.kind == FRAMES:
        found = (BATCH, next(labels), size)
    elif entries.kind == SEQUENCES:
        found = (next(labels), BATCH, size)
    elif size and inside and _merges_rows(entries):
        found = (BATCH, next(labels), size)
    else:
        found = (BATCH, size if size and entries.kind == NUMBERS else next(labels))
    if entries.slices is not None and entries.slices[0] <= len(found):
        found = (*found[: entries.slices[0]], entries.slices[1], *found[entries.slices[0] :])
    return (next(labels), *found) if entries.steps and entries.kind != SEQUENCES else found
