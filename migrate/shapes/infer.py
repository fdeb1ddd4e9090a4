"""The input of a model: sizes written by users, sizes found in the model, random tensors of the right kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from math import prod
from typing import Any

from ..base.errors import UsageError
from ..base.tensor_trees import shapes
from ..model.conversion import ConvertedModel, InputSizes
from .candidates import Candidate, column_sizes, oblong_sizes, only_along, single_sizes, tried_sizes
from .check_sizes import check_sizes
from .input_readers import IMAGES, VOLUMES, Entries, Entry, entries_of
from .not_found import unknown
from .parse import parse_shape, spelled
from .random_input import make_input
from .recorded import batched, left_by_model, recorded_sizes
from .search_budget import MOST_HELD, Budget, Spent
from .solve import exchanged, other_ranks
from .solved_sizes import fixed_batches, lengths_of_one, solved_for_a_batch, solved_sizes
from .table_sizes import spare_sizes, table_sizes, two_samples
from .trials import Trials

#: More numbers than a few images have; to run on more takes minutes, and gigabytes.
_LARGE = 1 << 21

#: How many sizes are tried of a table with a part of a certain size.
_FEW = 8

#: So many sizes with a dimension more or less are tried, to say that there are such.
_OTHERS = 24

#: In no batch so many sizes are followed at least, and as many as were not tried before.
_SINGLE, _UNTRIED = 30, 100

#: How many likely sizes are tried of a tensor, and of a table, before what the layers refuse is followed.
_LIKELY, _LIKELY_VOLUMES, _LIKELY_TABLES = 20, 70, 16


@dataclass(frozen=True)
class Guess:
    """An input found for a model.

    Attributes:
        value: a tensor or nested list.
        reason: why this one, in words.
    """

    value: Any
    reason: str


def input_of(conv: ConvertedModel, input_shape: Any = None, seed: int = 0, *, fitting: bool = True) -> Guess:
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
        require_taken(conv, value)
    return Guess(value, "the input shape was given")


def require_taken(conv: ConvertedModel, value: Any) -> None:
    """Refuses an input of sizes that the model does not take.

    Raises:
        UsageError: it says at which layer they fail.
        LimitExceeded: a layer would compute more than the limits allow.
    """
    failed, last = check_sizes(conv, value)
    if failed is not None:
        said = (str(failed) or repr(failed)).splitlines()[0]
        after = f"behind {last}" if last else "at its first layer"
        raise UsageError(
            f"The model does not take an input of {shapes(value)}: it fails {after}: {said[:200]}. "
            "Without --input-shape (input_shape=) one is looked for."
        )


def infer_input(conv: ConvertedModel, seed: int = 0) -> Guess:
    """An input that the model accepts: recorded in the file, or following from its layers, or found by trying.

    The sizes are looked for once per conversion.

    Raises:
        UsageError: none was found, or several that differ; it says what is known and what to pass.
        LimitExceeded: none was found, and on one a layer would compute more than the limits allow.
    """
    if conv.input_sizes is None:
        conv.input_sizes = _found(conv)
    if conv.input_sizes.sizes is None:
        raise UsageError(conv.input_sizes.reason)
    return Guess(make_input(conv, conv.input_sizes.sizes, seed), conv.input_sizes.reason)


def _found(conv: ConvertedModel) -> InputSizes:
    """What the model says of its input, what follows from that, and which of it the model takes."""
    budget = Budget(limits=conv.limits, held=MOST_HELD)
    entries = entries_of(conv)
    trials = Trials(conv, budget, steps=isinstance(entries, Entry) and entries.steps)
    try:
        chosen = trials.choose(_proposed(conv, entries, budget, trials))
    except Spent:
        chosen = None
    if chosen is None:
        oblong = [candidate.sizes for candidate in trials.oblong]
        if trials.too_large is not None and not oblong:
            check_sizes(conv, trials.empty(trials.too_large))
        return InputSizes(None, unknown(entries, trials.count, oblong, ended=budget.spent))
    others = chosen.arbitrary and isinstance(entries, Entry)
    if chosen.source in ("solved", "unbatched") and not chosen.arbitrary:
        return InputSizes(chosen.sizes, chosen.reason + _of_other_ranks(trials, chosen.sizes))
    return InputSizes(chosen.sizes, chosen.reason + (trials.others(chosen.sizes) if others else ""))


def _of_other_ranks(trials: Trials, sizes: Any) -> str:
    """Says which sizes do as well that have a dimension more or less, or are shared otherwise by joined parts."""
    tried = islice(chain(exchanged(sizes), other_ranks(sizes)), _OTHERS)
    other = next((other for other in tried if trials.fits(other) and trials.keeps_apart(other)[0]), None)
    return "" if other is None else f" (so does {spelled(other)}: --input-shape chooses what the model is for)"


def _proposed(conv: ConvertedModel, entries: Entries, budget: Budget, trials: Trials) -> Iterator[Candidate]:
    """Sizes that the model may take, the surest first; they are worked out as they are asked for."""
    yield from _recorded(conv, entries)
    yield from _likely(conv, entries, budget)
    mixed: list[Any] = []
    yield from solved_sizes(conv, entries, budget, batched=True, mixed=mixed)
    if isinstance(entries, Entry) and entries.kind == IMAGES:
        yield from oblong_sizes(conv, entries, budget)
    if isinstance(entries, dict):
        yield from _beside(conv, entries)
        yield from solved_for_a_batch(conv, entries, budget)
    else:
        yield from fixed_batches(conv, entries)
    if isinstance(entries, Entry) and entries.kind == IMAGES:
        yield from single_sizes(conv, entries)
    yield from solved_sizes(conv, entries, budget, batched=False, most=max(_SINGLE, _UNTRIED - trials.count))
    yield from lengths_of_one(conv, entries, budget, mixed)


def _recorded(conv: ConvertedModel, entries: Entries) -> Iterator[Candidate]:
    """Sizes that a run left in the file."""
    for left, reason in left_by_model(conv):
        yield from _with_few(left, reason, entries)
    if isinstance(entries, Entry):
        for sizes, reason in recorded_sizes(entries):
            yield from _with_few(sizes, reason, entries)
    else:
        yield from table_sizes(entries, recorded=True)


def _with_few(sizes: Any, reason: str, entries: Entries) -> Iterator[Candidate]:
    """Sizes that a run left; of a large batch of images two samples first, which show the same in a moment."""
    if isinstance(sizes, tuple) and len(sizes) > 3 and sizes[0] > 2 and prod(sizes) > _LARGE:
        told = f"{reason}, of whose {sizes[0]} samples two are taken"
        yield Candidate((2, *sizes[1:]), told, "recorded")
    more = two_samples(batched(sizes, entries))
    unknown = isinstance(sizes, tuple) and isinstance(entries, Entry) and not entries.kind
    yield Candidate(
        sizes, reason, "recorded", samples=None if more == sizes else more, batch=(2, *sizes) if unknown else None
    )


def _likely(conv: ConvertedModel, entries: Entries, budget: Budget) -> Iterator[Candidate]:
    """Sizes that the layers tell, or that are usual for what they take."""
    if isinstance(entries, Entry):
        if entries.kind == IMAGES:
            yield from column_sizes(conv, entries, budget)
            if only_along(conv) is not None:  # square images fit by chance
                yield from oblong_sizes(conv, entries, budget)
        yield from islice(tried_sizes(entries), _LIKELY_VOLUMES if entries.kind == VOLUMES else _LIKELY)
    else:
        yield from islice(table_sizes(entries), _LIKELY_TABLES)


def _beside(conv: ConvertedModel, entries: dict[int, Entries]) -> Iterator[Candidate]:
    """Tables that have parts of sizes that a layer far behind tells."""
    spares = list(spare_sizes(conv, entries))
    for spare in spares:
        yield from islice(table_sizes(entries, spare=spare), _FEW)
    yield from table_sizes(entries, crossed=True)
    for spare in spares:
        yield from table_sizes(entries, spare=spare, crossed=True)
