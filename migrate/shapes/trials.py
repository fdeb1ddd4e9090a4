"""Tries sizes on one model: does it take them, does it keep the samples of a batch apart, do others do as well?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from math import prod
from operator import attrgetter
from typing import Any

import torch

from ..base.tensor_trees import apply, leaves
from ..model.conversion import ConvertedModel
from .candidates import ANY_LENGTH, USUAL, Candidate
from .dry_run import answer_of, mixed, on_meta
from .observed_run import Runs
from .random_input import floating_type, make_input
from .requirements import Requirements
from .search_budget import Budget, Spent

#: Files can claim anything; nobody's input is larger.
_MAX_NUMBERS = 1 << 27


#: So many sizes are tried at most, and so many more of those that follow from what layers refuse.
_MOST, _MORE = 80, 16


class Trials:
    """Runs a model on inputs of which only the sizes matter.

    Attributes:
        count: how many sizes were tried.
        steps: is the input a sequence, time first?
        too_large: the first sizes with which a layer would compute more than the limits allow; None if there are none.
        oblong: sizes of oblong images that fit; where there are several, none is chosen.
    """

    def __init__(self, conv: ConvertedModel, budget: Budget, *, steps: bool = False) -> None:
        self.conv = conv
        self.budget = budget
        self.steps = steps
        self.count = 0
        self.oblong: list[Candidate] = []
        self.too_large: Any = None
        self._recorded: set[str] = set()
        self._answers: dict[str, Any] = {}
        memo: dict[int, Any] = {}
        self._module = on_meta(conv.module, memo)
        self._requirements = Requirements(conv.layers, memo)
        self._dtype = floating_type(conv.module)
        self._runs = Runs(conv, budget)

    def choose(self, candidates: Iterable[Candidate]) -> Candidate | None:
        """The first sizes that the model takes, as surely as their source asks for; None if there are none.

        Raises:
            Spent: the budget ended while candidates were worked out.
        """
        loosely: list[Candidate] = []
        for source, group in groupby(candidates, key=attrgetter("source")):
            if source in ("layers", "solved"):
                found = self._first_apart(group, loosely)
            elif source == "arithmetic":
                self.oblong = [candidate for candidate in group if self.fits(candidate.sizes)]
                found = self.oblong[0] if len(self.oblong) == 1 and not self.budget.spent else None
            elif source == "recorded":
                found = next(filter(None, map(self._as_recorded, group)), None)
            elif source == "fixed batch":
                found = next((candidate for candidate in group if self._fixes_batch(candidate.sizes)), None)
            else:
                if loosely and not self._joins(loosely[0]):
                    break
                found = next((candidate for candidate in group if self._fits_one(candidate.sizes)), None)
            if found is not None or self.oblong:
                return found
        return loosely[0] if loosely else None

    def _joins(self, candidate: Candidate) -> bool:
        """Are the parts of a table joined to one batch? Nothing else makes more rows of it where no View does."""
        views = any(record.traits.keeps_numbers and not record.traits.keeps_size for record in self.conv.layers)
        return isinstance(candidate.sizes, list) and not views

    def _first_apart(self, candidates: Iterable[Candidate], loosely: list[Candidate]) -> Candidate | None:
        """The first with which the model gives an answer for each sample; those with a fixed number are noted."""
        before = len(loosely)
        for number, candidate in enumerate(candidates, 1):
            if self.fits(candidate.sizes):
                exactly, evenly = self.keeps_apart(candidate.sizes)
                if exactly:
                    return candidate
                if evenly:
                    loosely.append(candidate)
            if len(loosely) - before == number == ANY_LENGTH or self.count >= _MOST:
                break
        return None

    def _as_recorded(self, candidate: Candidate) -> Candidate | None:
        """What a run left, if the model takes it: with two samples where it gives each what it gives one."""
        tried = str((candidate.sizes, candidate.samples))  # many layers may hold the same
        if self.count >= _MOST or tried in self._recorded:
            return None
        self._recorded.add(tried)
        one, two = self._answer(candidate.sizes), None
        if candidate.samples is not None:
            self.count += 1
            two = self._answer(candidate.samples)
        if two is not None and (one is None or _twice(one, two)) and not self._mixes(candidate.samples, two):
            return candidate._replace(sizes=candidate.samples)
        self.count += 1
        if one is not None and candidate.batch is not None and not self.keeps_apart(candidate.sizes)[1]:
            two = self._answer(candidate.batch)
            if two is not None and _twice(one, two) and self.keeps_apart(candidate.batch)[0]:
                return candidate._replace(sizes=candidate.batch)
        return None if one is None else candidate

    def _fits_one(self, sizes: Any) -> bool:
        """Does the model take one sample of these sizes, and make no batch of it?"""
        if not self.fits(sizes, _MORE):
            return False
        observed = self._runs.on(sizes)
        return observed.fits and not observed.splits

    def fits(self, sizes: Any, more: int = 0) -> bool:
        """Does the model take them, without mixing the samples of a batch of images? No, once the budget is spent.

        Args:
            sizes: a tuple, or a nested list of them.
            more: so many more than usual may be tried.
        """
        if self.budget.spent or self.count >= _MOST + more:
            return False
        self.count += 1
        answer = self._answer(sizes)
        return answer is not None and not self._mixes(sizes, answer)

    def _mixes(self, sizes: Any, answer: Any) -> bool:
        return bool(mixed(self.empty(sizes), answer, steps=self.steps))

    def _fixes_batch(self, sizes: Any) -> bool:
        """Does the model give an answer for each of these samples, but takes no other number of them?"""
        answer, more = (self._answer(sizes), self._answer(_grown(sizes))) if self.fits(sizes, _MORE) else (None, None)
        rows, others = [
            None if given is None else [tuple(tensor.shape[:1]) for _, tensor in leaves(given)]
            for given in (answer, more)
        ]
        return rows is not None and set(rows) == {(_batch(sizes),)} and (others is None or others == rows)

    def keeps_apart(self, sizes: Any) -> tuple[bool, bool]:
        """Does the model give an answer of its own for each sample?

        A View of fixed size takes what is too long as well, and makes more or fewer samples of it.

        Returns:
            Is there one answer per sample (or per step of it)? Is there, at least, a fixed number of them?
        """
        one, more = self._answer(sizes), self._answer(_grown(sizes))
        if one is None or more is None:
            return False, False
        batch, inner = _batch(sizes), {tensor[1] for tensor in _tensors(sizes) if len(tensor) > 1}  # maybe time's
        here, there = [[tuple(tensor.shape) for _, tensor in leaves(answer)] for answer in (one, more)]
        if len(here) != len(there):  # one answer per step, time first
            return (all(shape and shape[0] in inner for shape in here),) * 2
        pairs = [pair for pair in zip(here, there, strict=True) if pair[0]]
        exact = all(
            (first[0], second[0]) in ((batch * n, (batch + 1) * n) for n in (1, *inner))
            or (first == second and first[0] in inner)  # time first: the other axis is the batch
            or (first[0] == second[0] and (first[1:2], second[1:2]) == ((batch,), (batch + 1,)))
            for first, second in pairs
        )
        # samples that are compared with each other are no batch
        exact = exact and not any(
            (first[:2], second[:2]) == ((batch, batch), (batch + 1, batch + 1)) for first, second in pairs
        )
        return exact, exact or all(first[0] * (batch + 1) == second[0] * batch for first, second in pairs)

    def others(self, sizes: tuple[int, ...]) -> str:
        """Says which other sizes do as well as those that were found by trying."""
        if len(sizes) == 4 + self.steps:
            return self._other_images(sizes)
        if self.steps:
            return ""
        if len(sizes) == 5:
            larger = [(*sizes[:3], sizes[3] + n, sizes[4] + n) for n in (1, 16, 32)]
            larger += [(*sizes[:2], sizes[2] + n, *sizes[3:]) for n in (1, 8)]
            return _so_do(["x".join(map(str, s[2:])) for s in larger if self.fits(s)], len(larger))
        longer = [sizes[1] + n for n in (1, 2, 16)]
        return _so_do([str(n) for n in longer if any(self.keeps_apart((sizes[0], n, *sizes[2:])))], len(longer))

    def _other_images(self, sizes: tuple[int, ...]) -> str:
        *ahead, side, _ = sizes
        larger = [s for s in (side + 1, side + 32) if self.fits((*ahead, s, s))]
        if len(larger) == 2:
            return " (so does any other size, it seems)"
        usual = [s for s in USUAL if s not in (side, *larger) and self.fits((*ahead, s, s))]
        less = [side - 1] if side > 1 and self.fits((*ahead, side - 1, side - 1)) else []
        oblong = [(side // k, side * k) for k in (2, 4) if side % k == 0]
        turned = [*oblong, *((columns, rows) for rows, columns in oblong)]
        return _so_do(
            [f"{s}x{s}" for s in dict.fromkeys((*usual, *larger, *less))]
            + [f"{rows}x{columns}" for rows, columns in turned if self.fits((*ahead, rows, columns))],
            0,
        )

    def _answer(self, sizes: Any) -> Any:
        """What the model gives; None if it does not take these sizes, or if the budget ends before that is known."""
        if self.budget.spent or sum(map(prod, _tensors(sizes))) > _MAX_NUMBERS:
            return None
        tried = str(sizes)
        if tried in self._answers:
            return self._answers[tried]
        answer = self._run(sizes)
        if answer is None or all(tensor.is_meta for _, tensor in leaves(answer)):  # others take memory
            self._answers[tried] = answer
        return answer

    def _run(self, sizes: Any) -> Any:
        empty, full = self.empty(sizes), partial(make_input, self.conv, sizes)
        try:
            with self.budget, self._requirements:
                return answer_of(self.conv.module, self._module, empty, full)
        except Spent:
            return None
        finally:
            if self.budget.refused is not None and self.too_large is None:
                self.too_large = sizes

    def empty(self, sizes: Any) -> Any:
        """An input of these sizes, without numbers."""
        return apply(sizes, partial(torch.empty, dtype=self._dtype, device="meta"), tuple)


def _twice(one: Any, two: Any) -> bool:
    """Has each output two rows, each of the sizes that one sample gives?"""
    pairs = zip([tensor.shape for _, tensor in leaves(one)], [tensor.shape for _, tensor in leaves(two)], strict=False)
    return all(two in ((2, *one), (2 * one[0] if one else 0, *one[1:])) for one, two in pairs)


def _so_do(others: list[str], tried: int) -> str:
    """The sizes that do as well, in words."""
    if not others:
        return ""
    if len(others) == tried:
        return " (so does any other size, it seems)"
    return f" (so {'does' if len(others) == 1 else 'do'} {', '.join(others[:4])}{', …' if len(others) > 4 else ''})"


def _tensors(sizes: Any) -> Iterator[tuple[int, ...]]:
    if isinstance(sizes, list):
        for item in sizes:
            yield from _tensors(item)
    else:
        yield sizes


def _batch(sizes: Any) -> int:
    return next((tensor[0] for tensor in _tensors(sizes)), 1)


def _grown(sizes: Any, batch: int = 0) -> Any:
    """One sample more; beside a batch of `batch` the other parts of a table may have time first."""
    if isinstance(sizes, list):
        return [_grown(item, batch or _batch(sizes)) for item in sizes]
    axis = 1 if batch and sizes[0] != batch and sizes[1:2] == (batch,) else 0
    return (*sizes[:axis], sizes[axis] + 1, *sizes[axis + 1 :])
