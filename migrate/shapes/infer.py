"""The input of a model: sizes written by users, sizes found in the model, random tensors of the right kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any

from ..base.errors import UsageError
from ..base.tensor_trees import shapes
from ..model.conversion import Conversion
from ..model.record import LayerRecord
from .budget import Budget, Spent
from .candidates import ANY_LENGTH, column_sizes, oblong_sizes, single_sizes, tried_sizes
from .dry_run import attempt, dry_run, mixed, run
from .not_found import unknown
from .parse import parse_shape, spelled
from .random_input import INDEXED, floating_type, indexed_leaves, make_input
from .readers import IMAGES, Entries, Entry, entries_of
from .recorded import batched, recorded_sizes, sizes_of
from .tables import MAX_TRIED, spare_sizes, table_sizes, two_samples
from .trials import Trials

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

#: More numbers than a few images have; to run on more takes minutes, and gigabytes.
_LARGE = 1 << 21

#: How many sizes are tried of a table with a part of a certain size.
_FEW = 30


@dataclass(frozen=True)
class Guess:
    """An input found for a model.

    Attributes:
        value: a tensor or nested list.
        reason: why this one, in words.
    """

    value: Any
    reason: str


def input_of(conv: Conversion, input_shape: Any = None, seed: int = 0, *, fitting: bool = True) -> Guess:
    """Random input of the given sizes, or of sizes found in the model.

    Args:
        conv: the converted model.
        input_shape: as text, a tuple, or a nested list of tuples; None: find one.
        seed: of the random numbers.
        fitting: refuse sizes that the model does not take; a model with unsupported layers takes any.

    Raises:
        UsageError: the sizes are malformed, the model does not take them, or none could be found.
    """
    if input_shape is None:
        return infer_input(conv, seed)
    sizes = parse_shape(input_shape) if isinstance(input_shape, str) else input_shape
    value = make_input(conv, sizes, seed)
    if fitting and not conv.refusals:
        _check(conv, value)
    return Guess(value, "the input shape was given")


def _check(conv: Conversion, value: Any) -> None:
    """Refuses an input of sizes that the model does not take, and says at which layer they fail."""
    reached: list[str] = []
    failed = dry_run(conv, value, _Reached(reached))
    if failed is not None:
        said = (str(failed) or repr(failed)).splitlines()[0]
        after = f"behind {reached[-1]}" if reached else "at its first layer"
        raise UsageError(
            f"The model does not take an input of {shapes(value)}: it fails {after}: {said[:200]}. "
            "Without --input-shape (input_shape=) one is looked for."
        )


class _Reached:
    """Notes the layers that ran."""

    def __init__(self, layers: list[str]) -> None:
        self.layers = layers

    def __call__(self, record: LayerRecord, output: Any) -> None:
        self.layers.append(f"{record.typename} at {record.path or 'the top'}")


def infer_input(conv: Conversion, seed: int = 0) -> Guess:
    """Finds an input that the model accepts: recorded in the file, or following from its layers, or found by trying.

    Raises:
        UsageError: none was found, or several that differ; it says what is known and what to pass.
    """
    entries = entries_of(conv)
    trials = Trials(conv, Budget())
    fitting: list[tuple[int, ...]] = []
    try:
        found = _found(conv, trials, entries, fitting)
    except Spent:
        found = None
    if found is None:
        raise UsageError(unknown(entries, trials.count, fitting, ended=trials.budget.spent))
    sizes, reason = found
    return Guess(make_input(conv, sizes, seed), reason)


def _found(
    conv: Conversion, trials: Trials, entries: Entries, fitting: list[tuple[int, ...]]
) -> tuple[Any, str] | None:
    """Sizes that the model takes, the surest that there are; oblong ones that do as well are added to `fitting`."""
    for sizes, reason in _certain(conv, entries):
        if trials.fits(sizes):
            return sizes, reason
    found = _first_fitting(trials, _tried(conv, entries, trials.budget))
    if found is not None:
        sizes, reason = found
        return sizes, reason + _others(trials, entries, sizes, reason)
    if isinstance(entries, Entry) and entries.kind == IMAGES:
        fitting += [s for s in oblong_sizes(conv, entries, trials.budget) if trials.fits(s)]
        if len(fitting) == 1 and not trials.budget.spent:
            reason = f"{entries.where} and the first Linear leave only an oblong image, {spelled(fitting[0])}"
            return fitting[0], reason
        for sizes, reason in () if fitting else single_sizes(conv, entries):
            if trials.fits(sizes):
                return sizes, reason
    return None


def _certain(conv: Conversion, entries: Entries) -> Iterator[tuple[Any, str]]:
    """Sizes that a run left in the file, the surest first."""
    left = sizes_of(conv.layers[0].object.get("gradInput")) if conv.layers else None
    if left:
        kind = entries.kind if isinstance(entries, Entry) else ""
        yield from _with_few(batched(left, kind), "gradInput of the model was left in the file")
    if isinstance(entries, Entry):
        for sizes, reason in recorded_sizes(entries):
            yield from _with_few(sizes, reason)
    else:
        yield from table_sizes(entries, recorded=True)


def _with_few(sizes: Any, reason: str) -> Iterator[tuple[Any, str]]:
    """Sizes that a run left; of a large batch of images two samples first, which show the same in a moment."""
    if isinstance(sizes, tuple) and len(sizes) > 3 and sizes[0] > 2 and prod(sizes) > _LARGE:
        yield (2, *sizes[1:]), f"{reason}, of whose {sizes[0]} samples two are taken"
    yield two_samples(sizes), reason


def _tried(conv: Conversion, entries: Entries, budget: Budget) -> Iterator[tuple[Any, str]]:
    """Sizes worth trying, the likeliest first."""
    if isinstance(entries, Entry):
        if entries.kind == IMAGES:
            yield from column_sizes(conv, entries, budget)
        yield from islice(tried_sizes(entries), MAX_TRIED)
        return
    yield from islice(table_sizes(entries), MAX_TRIED)
    spares = list(spare_sizes(conv, entries))
    for spare in spares:
        yield from islice(table_sizes(entries, spare=spare), _FEW)
    yield from table_sizes(entries, crossed=True)
    for spare in spares:
        yield from table_sizes(entries, spare=spare, crossed=True)


def _first_fitting(trials: Trials, candidates: Iterator[tuple[Any, str]]) -> tuple[Any, str] | None:
    """The first sizes with which the model gives an answer for each sample, or else a fixed number of answers."""
    loosely: list[tuple[Any, str]] = []
    for number, (sizes, reason) in enumerate(candidates, 1):
        if trials.fits(sizes):
            exactly, evenly = trials.keeps_apart(sizes)
            if exactly:
                return sizes, reason
            if evenly:
                loosely.append((sizes, reason))
        if len(loosely) == number == ANY_LENGTH:
            break
    return loosely[0] if loosely else None


def _others(trials: Trials, entries: Entries, sizes: Any, reason: str) -> str:
    """Says which other sizes do as well, where one was found by trying."""
    if not isinstance(entries, Entry) or entries.steps or "was tried" not in reason:
        return ""
    return trials.others(sizes)
