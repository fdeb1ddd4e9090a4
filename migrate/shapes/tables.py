"""Sizes of tables: for each part of the input those that the layers behind it tell, combined with each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from typing import Any

from torch import nn

from ..conversion import Conversion
from ..t7 import Tensor
from .entries import INDICES, Entries, Entry, kind_of
from .guesses import tried_sizes
from .recorded import recorded_sizes
from .spelling import spelled

#: How many sizes are tried of each kind.
MAX_TRIED = 1200

#: Each of so few sizes of a part is combined with every size of the others.
_FEW = 4

#: The reasons are told part by part for so many.
_TOLD = 3

#: How many sizes are tried for a part that no layer tells about.
_MAX_WIDTHS = 60


def table_sizes(
    entries: dict[int, Entries], *, recorded: bool, spare: tuple[int, ...] | None = None
) -> Iterator[tuple[Any, str]]:
    """Sizes of a table, one entry per part of the input.

    Args:
        entries: the layers that read the parts.
        recorded: take what a run left in the file, rather than what is worth trying.
        spare: sizes for the parts of which nothing is known; None: like those beside them.
    """
    parts = [
        list(islice(_part(part, recorded=recorded, spare=spare), MAX_TRIED)) for _, part in sorted(entries.items())
    ]
    known = [part for part in parts if part]
    if not known or (recorded and len(known) < len(parts)):
        return
    reason = f"one entry for each of the {len(parts)} parts of its input: "
    reason += "what was left in the file" if recorded else "as the layers behind them take them"
    beside = spare or _spare(known)
    left = [(beside, f"no layer tells, and {spelled(beside)} was tried and fits")]
    for choice in _combined([part or left for part in parts]):
        each = f" ({'; '.join(why for _, why in choice)})" if len(parts) <= _TOLD else ""
        yield [sizes for sizes, _ in choice], reason + each


def _combined(parts: list[list[Any]]) -> Iterator[tuple[Any, ...]]:
    """One of each part: long lists go in step, for they are the same sizes mostly; short ones go through all."""
    longest = max((len(part) for part in parts if len(part) > _FEW), default=1)
    for step in range(longest):
        yield from product(*(part if len(part) <= _FEW else part[min(step, len(part) - 1) :][:1] for part in parts))


def _part(entries: Entries, *, recorded: bool, spare: tuple[int, ...] | None) -> Iterator[tuple[Any, str]]:
    if isinstance(entries, Entry):
        found = recorded_sizes(entries) if recorded else _within_a_table(entries)
        yield from ((two_samples(sizes), reason) for sizes, reason in found)
    else:
        yield from table_sizes(entries, recorded=recorded, spare=spare)


def _within_a_table(entry: Entry) -> Iterator[tuple[Any, str]]:
    """Beside states of one step, indices are those of one step too."""
    found = list(tried_sizes(entry))
    if entry.first is not None and entry.kind == INDICES:
        yield found[-1]
        yield from found[:-1]
    else:
        yield from found


def _spare(known: list[list[tuple[Any, str]]]) -> Any:
    """Sizes for a part of which nothing is known: those of a state beside it."""
    first = [part[0][0] for part in known]
    return next((sizes for sizes in first if isinstance(sizes, tuple) and len(sizes) == 2), first[0])


def spare_widths(conv: Conversion) -> list[int]:
    """How many numbers a part may have that no layer reads first, but that is added to others or joined with them.

    As many as a layer gives, or as a Linear takes beside what another layer gives.
    """
    linears = [record.module for record in conv.layers if isinstance(record.module, nn.Linear)]
    lookups = [record.object.get("weight") for record in conv.layers if kind_of(record) == INDICES]
    given = {linear.out_features for linear in linears}
    given |= {weight.size[1] for weight in lookups if isinstance(weight, Tensor) and len(weight.size) == 2}
    rest = {linear.in_features - width for linear in linears for width in given if width < linear.in_features}
    return [*sorted(given), *sorted(rest - given)][:_MAX_WIDTHS]


def two_samples(sizes: Any) -> Any:
    """The same sizes with at least two samples, so that mixing them would show."""
    if isinstance(sizes, list):
        return [two_samples(item) for item in sizes]
    return (max(2, sizes[0]), *sizes[1:])
