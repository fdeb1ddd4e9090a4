"""Sizes of tables: for each part of the input those that the layers behind it tell, combined with each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from typing import Any

from torch import nn

from ..model.conversion import ConvertedModel
from ..t7 import Tensor
from .candidates import Candidate, Source, crossed_sizes, tried_sizes
from .input_readers import IMAGES, INDICES, NUMBERS, Entries, Entry, channels_of, kind_of
from .parse import spelled
from .recorded import batched, recorded_sizes

#: How many sizes are tried of each kind.
MAX_TRIED = 1200

#: Each of so few sizes of a part is combined with every size of the others.
_FEW = 4

#: The reasons are told part by part for so many.
_TOLD = 3

#: How many sizes are tried for a part that no layer tells about.
_MAX_WIDTHS = 60


def table_sizes(
    entries: dict[int, Entries],
    *,
    recorded: bool = False,
    spare: tuple[int, ...] | None = None,
    crossed: bool = False,
) -> Iterator[Candidate]:
    """Sizes of a table, one entry per part of the input.

    Args:
        entries: the layers that read the parts.
        recorded: take what a run left in the file, rather than what is worth trying.
        spare: sizes for the parts of which nothing is known; None: like those beside them.
        crossed: combine the likeliest sizes of each part with those of every other one.
    """
    parts = [
        list(islice(_part(part, recorded=recorded, spare=spare, crossed=crossed), MAX_TRIED))
        for _, part in sorted(entries.items())
    ]
    known = [part for part in parts if part]
    if (not known and spare is None) or (recorded and len(known) < len(parts)):
        return
    reason = f"one entry for each of the {len(parts)} parts of its input: "
    reason += "what was left in the file" if recorded else "as the layers behind them take them"
    if len(parts) > _TOLD and len(known) < len(parts):
        guessed = ", ".join(str(number) for number, part in zip(sorted(entries), parts, strict=True) if not part)
        reason += f", but no layer tells the sizes of {guessed}: --input-shape chooses what the model is for"
    first = [part[0].sizes for part in known]
    # what nothing is known of is most likely like a state beside it
    beside = spare or next((sizes for sizes in first if isinstance(sizes, tuple) and len(sizes) == 2), first[0])
    left = [Candidate(beside, f"no layer tells, and {spelled(beside)} was tried and fits")]
    parts = [part or left for part in parts]
    for choice in islice(product(*parts), MAX_TRIED) if crossed else _combined(parts):
        each = f" ({'; '.join(part.reason for part in choice)})" if len(parts) <= _TOLD else ""
        source: Source = "recorded" if recorded else "layers"
        sizes = [part.sizes for part in choice]
        more = two_samples(batched(sizes, entries)) if recorded else sizes
        yield Candidate(sizes, reason + each, source, samples=None if more == sizes else more)


def _combined(parts: list[list[Candidate]]) -> Iterator[tuple[Candidate, ...]]:
    """One of each part: long lists go in step, for they are the same sizes mostly; short ones go through all."""
    longest = max((len(part) for part in parts if len(part) > _FEW), default=1)
    for step in range(longest):
        yield from product(*(part if len(part) <= _FEW else part[min(step, len(part) - 1) :][:1] for part in parts))


def _part(entries: Entries, *, recorded: bool, spare: tuple[int, ...] | None, crossed: bool) -> Iterator[Candidate]:
    if isinstance(entries, Entry):
        tried = crossed_sizes if crossed else _within_a_table
        found = (Candidate(*item) for item in recorded_sizes(entries)) if recorded else tried(entries)
        yield from found if recorded else (item._replace(sizes=two_samples(item.sizes)) for item in found)
    else:
        yield from table_sizes(entries, recorded=recorded, spare=spare, crossed=crossed)


def _within_a_table(entry: Entry) -> Iterator[Candidate]:
    """Beside states of one step, indices are those of one step too."""
    found = list(tried_sizes(entry))
    return iter([found[-1], *found[:-1]] if entry.first is not None and entry.kind == INDICES else found)


def spare_sizes(conv: ConvertedModel, entries: Entries) -> Iterator[tuple[int, ...]]:
    """Sizes that a part may have that no layer reads first, but that is added to others or joined with them.

    It has as many numbers as the parts beside it, as a layer gives or takes, or as a layer takes beside what another
    one gives.
    """
    linears = [record.module for record in conv.layers if isinstance(record.module, nn.Linear)]
    lookups = [record.object.get("weight") for record in conv.layers if kind_of(record) == INDICES]
    given = {linear.out_features for linear in linears}
    given |= {weight.size[1] for weight in lookups if isinstance(weight, Tensor) and len(weight.size) == 2}
    taken = {linear.in_features for linear in linears}
    maps = {channels_of(record) for record in conv.layers if kind_of(record) == IMAGES}
    rest = _rest(taken, given)
    known = sorted(set(_widths(entries)))
    for width in islice(dict.fromkeys([*known, *sorted(given), *sorted(taken), *rest]), _MAX_WIDTHS):
        yield (2, width)
    for planes in islice(dict.fromkeys([*_rest(maps, given), *sorted(maps)]), _MAX_WIDTHS):
        if planes:
            yield (2, planes, 1, 1)


def _rest(taken: set[int], given: set[int]) -> list[int]:
    """What layers take beside what others give."""
    return sorted({size - width for size in taken for width in given if width < size})


def _widths(entries: Entries) -> Iterator[int]:
    """How many numbers the parts have that layers read."""
    if isinstance(entries, Entry):
        if entries.channels and entries.kind == NUMBERS:
            yield entries.channels
    else:
        for part in entries.values():
            yield from _widths(part)


def two_samples(sizes: Any) -> Any:
    """The same sizes with at least two samples, so that mixing them would show."""
    if isinstance(sizes, list):
        return [two_samples(item) for item in sizes]
    return (max(2, sizes[0]), *sizes[1:])
