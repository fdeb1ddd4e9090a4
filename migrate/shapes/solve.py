"""Finds sizes that a model takes: whatever refuses them tells which one to change, and the run is repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import chain, count, permutations
from typing import Any

from ..base.tensor_trees import apply
from .needs import Need, needs_of
from .observed_run import BATCH, Observed, Runs, Site

#: Sizes that stand for ones that are not known yet: so different that equal ones have been made equal on purpose.
LABELS = (5, 11, 13, 17, 19, 23, 31, 37, 41, 43, 47, 53)

#: In so many ways at most is a need met, by one axis or another.
_PER_NEED = 2

#: No size is looked for beyond.
_LARGEST = 4096

#: Sizes that are preferred where several do.
_ROUND = (224, 227, 32, 64, 28, 96, 128, 112, 84, 48, 16, 8)

#: An input has so many dimensions at most.
_MAX_RANK = 4

#: No run comes as far.
_ENDED = 1 << 40

Axes = tuple[tuple[int, int], ...]

#: How odd sizes are and how little of the run is missing (less comes first), a number, sizes, and which need is met
#: next; behind them come other ranks.
_Step = tuple[int, int, int, Any, int]


class Solver:
    """Looks for sizes that a model takes.

    Args:
        runs: runs the model.
        most: how many runs there may be.
        batch: how many samples there are.
        lengths: how long a list of equal sizes may be.
    """

    def __init__(self, runs: Runs, most: int, batch: int = BATCH, lengths: Sequence[int] = ()) -> None:
        self._runs = runs
        self._lengths = lengths
        self._batch = batch
        self._last = runs.count + most
        self._known: dict[str, Observed] = {}
        self._order = count()

    def _over(self) -> bool:
        return self._runs.count >= self._last

    def solve(self, roots: Iterable[Any]) -> Iterator[Any]:
        """Sizes that fit, from some to begin with, those first that come far.

        Args:
            roots: nested sizes.
        """
        heap: list[_Step] = []
        seen: set[str] = set()
        for root in roots:
            self._push(heap, seen, root)
        while heap and not self._over():
            odd, missing, _, sizes, stage = heappop(heap)
            observed = self._run(sizes)
            if observed.fits:
                yield sizes
                continue
            site, needs = needs_of(observed)
            if stage < 2 * len(needs):  # the last stage has nothing behind it
                heappush(heap, (odd, missing, next(self._order), sizes, stage + 1))
            if stage == len(needs):
                for deeper in _deeper(sizes):  # from there the way is another
                    self._push(heap, seen, deeper, odd=odd + 1)
                found: Iterator[Any] = chain(self._other_lengths(sizes), other_ranks(sizes))
            else:  # first with the batch as it is, then with another
                batch = stage > len(needs)
                found = self._followed(sizes, needs[stage - batch - batch * len(needs)], site, batch=batch)
            for changed in found:
                if self._over():
                    return
                self._push(heap, seen, changed, observed)

    def _push(
        self, heap: list[_Step], seen: set[str], sizes: Any, before: Observed | None = None, odd: int = 0
    ) -> None:
        if repr(sizes) in seen:
            return
        seen.add(repr(sizes))
        observed = self._run(sizes)
        odd += sum(self._batch not in leaf for leaf in flat(_with_one(sizes)))  # parts that have no batch
        if observed.fits:
            heappush(heap, (odd or -1, -_ENDED, next(self._order), sizes, 0))
        elif before is None or _comes_further(observed, before):
            heappush(heap, (odd, -observed.progress, next(self._order), sizes, 0))

    def _run(self, sizes: Any) -> Observed:
        key = repr(sizes)
        if key not in self._known:
            self._known[key] = self._runs.on(sizes)
        return self._known[key]

    def _followed(self, sizes: Any, need: Need, site: Site, *, batch: bool) -> Iterator[Any]:
        """The same sizes, one of them changed so that what was refused is as it was wanted."""
        groups = _groups(sizes, self._batch, inside=batch)
        seen = {size for part in self._run(sizes).at(site) or () for size in part}
        # a size that is seen there again is most likely the same axis
        direct = [axes for axes in groups if _leaf(sizes, axes[0][0])[axes[0][1]] in seen]
        found = 0
        for number, axes in enumerate([*direct, *(axes for axes in groups if axes not in direct)]):
            if self._over() or found == _PER_NEED or (found and number >= len(direct)):
                return
            size = self._size(sizes, axes, need, site)
            if size is not None:
                found += 1
                yield _with(sizes, axes, size)

    def _other_lengths(self, sizes: Any) -> Iterator[Any]:
        """The same sizes, with another length of the lists in the table that have equal entries."""
        lists = [part for part in sizes if _is_alike(part)] if isinstance(sizes, list) else []
        for length in self._lengths if lists else ():
            yield [part[:1] * length if _is_alike(part) else part for part in sizes]

    def _size(self, sizes: Any, axes: Axes, need: Need, site: Site) -> int | None:
        """The size of some axes with which a need is met; None if there is none."""

        def off(size: int) -> int | None:
            if not 1 <= size <= _LARGEST or self._over():
                return None
            seen = self._run(_with(sizes, axes, size)).at(site)
            try:
                return None if seen is None else need(seen)
            except IndexError:
                return None

        now = _leaf(sizes, axes[0][0])[axes[0][1]]
        first, next_one = off(now), off(now + 1)
        if first is None:
            return None
        if next_one is not None and next_one != first and first % (next_one - first) == 0:
            found = now - first // (next_one - first)
            if off(found) == 0:
                return found
        more = off(2 * now)
        if more is None or more == first:
            return None
        return self._bisected(off, now, 1 if more > first else -1)

    def _bisected(self, off: Callable[[int], int | None], now: int, sign: int) -> int | None:
        """The least size with which nothing is missing, or a rounder one that does as well."""

        def missing(size: int) -> bool:
            value = off(size)
            return value is None or sign * value < 0

        low, high = 1, now
        if missing(now):
            low, high = now, 2 * now
            while missing(high):
                if off(high) is None:
                    return None
                low, high = high, 2 * high
        while low < high:
            middle = (low + high) // 2
            if missing(middle):
                low = middle + 1
            else:
                high = middle
        if off(low) != 0:
            return None
        return next((size for size in _ROUND if low <= size < low + 32 and off(size) == 0), low)


def _is_alike(part: Any) -> bool:
    """Is it a list of tensors of the same sizes?"""
    return isinstance(part, list) and len(part) > 1 and isinstance(part[0], tuple) and part.count(part[0]) == len(part)


def _with_one(sizes: Any) -> Any:
    """The same sizes, with one entry of each list of equal ones."""
    return [part[:1] if _is_alike(part) else part for part in sizes] if isinstance(sizes, list) else sizes


def _comes_further(observed: Observed, before: Observed) -> bool:
    """Does a run come further than another, or want less where it ends?"""
    if observed.progress != before.progress:
        return observed.progress > before.progress
    return len(needs_of(observed)[1]) < len(needs_of(before)[1])


def flat(sizes: Any) -> list[tuple[int, ...]]:
    """The sizes of the tensors of a table, in order."""
    found: list[tuple[int, ...]] = []
    apply(sizes, found.append, tuple)
    return found


def _leaf(sizes: Any, number: int) -> tuple[int, ...]:
    return flat(sizes)[number]


def replaced(sizes: Any, number: int, leaf: tuple[int, ...]) -> Any:
    """The same sizes, with others for one tensor."""
    numbers = count()

    def choose(one: tuple[int, ...]) -> tuple[int, ...]:
        return leaf if next(numbers) == number else one

    return apply(sizes, choose, tuple)


def _with(sizes: Any, axes: Axes, size: int) -> Any:
    for number, dim in axes:
        leaf = _leaf(sizes, number)
        sizes = replaced(sizes, number, (*leaf[:dim], size, *leaf[dim + 1 :]))
    return sizes


def _groups(sizes: Any, batch: int, *, inside: bool) -> list[Axes]:
    """Axes that change together: those of equal size, then each alone; only those of the batch, or all others."""
    by_size: dict[tuple[bool, int], list[tuple[int, int]]] = {}
    for number, leaf in enumerate(flat(sizes)):
        for dim, size in enumerate(leaf):
            sides = len(leaf) >= _MAX_RANK and dim > 1
            if (size == batch) is inside:
                by_size.setdefault((size not in LABELS and not sides, size), []).append((number, dim))
    found = sorted(by_size.items())
    groups = [tuple(axes) for _, axes in found]
    images = {number for number, leaf in enumerate(flat(sizes)) if len(leaf) >= _MAX_RANK}
    for _, axes in found:
        if len(axes) > 1:
            together = {number: tuple(a for a in axes if a[0] == number) for number, _ in axes}
            groups += [axis for axis in together.values() if len(axis) < len(axes)]
            groups += [((n, d),) for n, d in axes if n not in images and len(together[n]) > 1]
    # a side of images alone comes last
    groups += [((n, d),) for _, axes in found for n, d in axes if n in images and len(axes) > 1]
    return list(dict.fromkeys(groups))


def _label(sizes: Any) -> int:
    used = {size for leaf in flat(sizes) for size in leaf}
    return next((label for label in LABELS if label not in used), 59)


def _deeper(sizes: Any) -> Iterator[Any]:
    """The same sizes with a dimension more in each part, if all have as many: operands do."""
    ranks = [len(leaf) for leaf in flat(sizes)]
    if len(ranks) > 1 and len(set(ranks)) == 1 and ranks[0] < _MAX_RANK:
        for dim in (1, ranks[0]):
            yield apply(sizes, partial(_inserted, dim, _label(sizes)), tuple)


def other_ranks(sizes: Any) -> Iterator[Any]:
    """The same sizes, with a dimension more or less in one part."""
    label = _label(sizes)
    for number, leaf in enumerate(flat(sizes)):
        if len(leaf) < _MAX_RANK:
            for dim in dict.fromkeys((1 if leaf else 0, len(leaf), 0)):
                yield replaced(sizes, number, _inserted(dim, label, leaf))
        if len(leaf) > 1:
            yield replaced(sizes, number, (leaf[0], *leaf[2:]))
            yield replaced(sizes, number, leaf[1:])


def exchanged(sizes: Any) -> Iterator[Any]:
    """The same sizes, where two parts of a table share the sum of their channels otherwise, as joined ones can."""
    for (i, one), (j, other) in permutations(enumerate(flat(sizes)), 2):
        if len(one) == len(other) > 1 and other[1] > 1:
            more = replaced(sizes, i, (one[0], one[1] + 1, *one[2:]))
            yield replaced(more, j, (other[0], other[1] - 1, *other[2:]))


def _inserted(dim: int, size: int, leaf: tuple[int, ...]) -> tuple[int, ...]:
    return (*leaf[:dim], size, *leaf[dim:])
