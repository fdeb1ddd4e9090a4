"""The input of a model: sizes written by users, sizes found in the model, random tensors of the right kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from math import prod
from typing import Any

from torch import nn

from ..conversion import Conversion
from ..errors import UsageError
from .entries import IMAGES, NUMBERS, Entries, Entry, entries_of
from .guesses import oblong_sizes, text_line_sizes, tried_sizes
from .making import INDEXED, floating_type, indexed_leaves, make_input
from .recorded import batched, recorded_sizes, sizes_of
from .running import accepts, attempt, dry_run, mixed, run
from .spelling import parse_shape, spelled

__all__ = [
    "INDEXED",
    "Guess",
    "attempt",
    "dry_run",
    "floating_type",
    "indexed_leaves",
    "infer_input",
    "input_of",
    "make_input",
    "mixed",
    "parse_shape",
    "run",
]

#: How many sizes are tried of each kind.
_MAX_TRIED = 1200
_FEW = 30
_MAX_NUMBERS = 1 << 27


@dataclass(frozen=True)
class Guess:
    """An input found for a model.

    Attributes:
        value: a tensor or nested list.
        reason: why this one, in words.
    """

    value: Any
    reason: str


def input_of(conv: Conversion, input_shape: Any = None, seed: int = 0) -> Guess:
    """Random input of the given sizes, or of sizes found in the model.

    Args:
        conv: the converted model.
        input_shape: as text, a tuple, or a nested list of tuples; None: find one.
        seed: of the random numbers.

    Raises:
        UsageError: the sizes are malformed, or none could be found.
    """
    if input_shape is None:
        return infer_input(conv, seed)
    sizes = parse_shape(input_shape) if isinstance(input_shape, str) else input_shape
    return Guess(make_input(conv, sizes, seed), "the input shape was given")


def infer_input(conv: Conversion, seed: int = 0) -> Guess:
    """Finds an input that the model accepts: recorded in the file, or following from its layers, or found by trying.

    Raises:
        UsageError: none was found, or several that differ; it says what is known and what to pass.
    """
    entries = entries_of(conv)
    tried = 0
    for sizes, reason in _candidates(conv, entries):
        tried += 1
        if _fits(conv, sizes):
            return Guess(make_input(conv, sizes, seed), reason + _others(conv, entries, sizes, reason))
    fitting: list[tuple[int, ...]] = []
    if isinstance(entries, Entry):
        fitting = [s for s in oblong_sizes(conv, entries) if _fits(conv, s)]
        if len(fitting) == 1:
            reason = f"{entries.where} and the first Linear leave only an oblong image, {spelled(fitting[0])}"
            return Guess(make_input(conv, fitting[0], seed), reason)
    raise UsageError(_unknown(conv, entries, tried, fitting))


def _fits(conv: Conversion, sizes: Any) -> bool:
    """Does the model take an input of these sizes? Not if it is larger than anybody's: files can claim anything."""
    if _count(sizes) > _MAX_NUMBERS:
        return False
    try:
        return accepts(conv, make_input(conv, sizes))
    except (RuntimeError, TypeError, ValueError):
        return False


def _count(sizes: Any) -> int:
    return sum(map(_count, sizes)) if isinstance(sizes, list) else prod(sizes)


def _candidates(conv: Conversion, entries: Entries) -> Iterator[tuple[Any, str]]:
    """Sizes worth trying, the surest first."""
    left = sizes_of(conv.layers[0].object.get("gradInput")) if conv.layers else None
    if left:
        kind = entries.kind if isinstance(entries, Entry) else ""
        yield _two_samples(batched(left, kind)), "gradInput of the model was left in the file"
    if isinstance(entries, Entry):
        yield from ((_two_samples(sizes), reason) for sizes, reason in recorded_sizes(entries))
        if entries.kind == IMAGES:
            yield from text_line_sizes(conv, entries)
        yield from islice(tried_sizes(entries), _MAX_TRIED)
        return
    yield from _tables(entries, recorded=True)
    yield from islice(_tables(entries, recorded=False), _MAX_TRIED)
    # a part that is only added to others, or joined with them, may have the size of what a layer gives
    for width in sorted({record.module.out_features for record in conv.layers if isinstance(record.module, nn.Linear)}):
        yield from islice(_tables(entries, recorded=False, spare=(2, width)), _FEW)


def _tables(
    entries: dict[int, Entries], *, recorded: bool, spare: tuple[int, ...] | None = None
) -> Iterator[tuple[Any, str]]:
    """A table with one entry per part of the input."""
    parts = [
        list(islice(_part(part, recorded=recorded, spare=spare), _MAX_TRIED)) for _, part in sorted(entries.items())
    ]
    known = [part for part in parts if part]
    if not known or (recorded and len(known) < len(parts)):
        return
    left = (spare, "") if spare else _spare(known)
    reason = f"one entry for each of the {len(parts)} parts of its input"
    told = "what was left in the file" if recorded else "as the layers behind them take them"
    longest = zip_longest(*(part or [left] for part in parts))
    for choice in longest:
        sizes = [(chosen or part[-1] if part else left)[0] for chosen, part in zip(choice, parts, strict=True)]
        yield sizes, f"{reason}: {told}"


def _part(entries: Entries, *, recorded: bool, spare: tuple[int, ...] | None) -> Iterator[tuple[Any, str]]:
    if isinstance(entries, Entry):
        found = recorded_sizes(entries) if recorded else _within_a_table(entries)
        yield from ((_two_samples(sizes), reason) for sizes, reason in found)
    else:
        yield from _tables(entries, recorded=recorded, spare=spare)


def _within_a_table(entry: Entry) -> Iterator[tuple[Any, str]]:
    """Beside states of one step, indices are those of one step too."""
    found = list(tried_sizes(entry))
    if entry.first is not None and entry.kind == "indices":
        yield found[-1]
        yield from found[:-1]
    else:
        yield from found


def _spare(known: list[list[tuple[Any, str]]]) -> tuple[Any, str]:
    """Sizes for a part of which nothing is known: those of a state beside it."""
    states = [part[0] for part in known if isinstance(part[0][0], tuple) and len(part[0][0]) == 2]
    return states[0] if states else known[0][0]


def _two_samples(sizes: Any) -> Any:
    """The same sizes with at least two samples, so that mixing them would show."""
    if isinstance(sizes, list):
        return [_two_samples(item) for item in sizes]
    return (max(2, sizes[0]), *sizes[1:])


def _others(conv: Conversion, entries: Entries, sizes: Any, reason: str) -> str:
    """Says whether other sizes do as well, where one was found by trying."""
    if not isinstance(entries, Entry) or entries.kind != IMAGES or "was tried" not in reason or len(sizes) != 4:
        return ""
    batch, planes, side, _ = sizes
    larger = [s for s in (side + 1, side + 32) if _fits(conv, (batch, planes, s, s))]
    if len(larger) == 2:
        return " (so does any other size, it seems)"
    if larger:
        return f" (so does {larger[0]}x{larger[0]})"
    return ""


def _unknown(conv: Conversion, entries: Entries, tried: int, fitting: list[tuple[int, ...]]) -> str:
    if fitting:
        listed = ", ".join(spelled(sizes) for sizes in fitting[:6])
        return (
            f"The input shape of the model is ambiguous: square images do not fit, but {listed} do. "
            f"Pass the right one: --input-shape {spelled(fitting[0])} (input_shape={spelled(fitting[0])!r})."
        )
    if isinstance(entries, Entry):
        known = f"Its first layer with weights is {entries.where}" if entries.where else ""
        if known and entries.channels:
            known += f", which takes {entries.channels} channels or numbers"
        example = _example(entries)
    else:
        parts = [f"entry {i}: {_told(part)}" for i, part in sorted(entries.items())]
        known = f"It takes a table of {len(parts)} ({'; '.join(parts)})"
        example = _example(entries)
    hint = f" {known}." if known else ""
    return (
        f"The input shape of the model was not found ({tried} tried).{hint} Pass it: --input-shape {example} "
        f"(input_shape={example!r})."
    )


def _told(entries: Entries) -> str:
    if isinstance(entries, dict):
        return f"a table of {len(entries)}"
    return f"{entries.where}, {entries.channels} {entries.kind or 'numbers'}" if entries.where else "not known"


def _example(entries: Entries) -> str:
    if isinstance(entries, dict):
        return "{" + ",".join(_example(part) for _, part in sorted(entries.items())) + "}"
    before = [record.typename for record in entries.passed if record is not entries.first]
    if entries.kind == NUMBERS and entries.channels and all(name in ("nn.Identity", "nn.Dropout") for name in before):
        return f"2x{entries.channels}"
    return f"2x{entries.channels if entries.kind == IMAGES and entries.channels else 3}x224x224"
