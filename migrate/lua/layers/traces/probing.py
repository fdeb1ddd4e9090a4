"""Finds inputs that an author's layer takes: how many tensors, of which ranks, and which of their sizes are free."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice, product, zip_longest
from typing import Any

import torch

from ....t7 import LuaObject, LuaTable, Storage, Tensor, Value

Shape = tuple[int, ...]

#: Sizes that are tried first, all different, and those that are tried for one dimension after another.
_BASE = (5, 7, 6, 8, 4)
_POOL = (*range(2, 21), 24, 28, 30, 32)
#: Sizes that an author may ask for without a field that names them, such as those of boxes.
_SMALL = (2, 3, 4, 1, 6, 8, 9, 16)
#: So many sizes must do before a dimension is free: graphs are compared at as many.
LEAST = 5
#: More sizes that do are not looked for.
_MOST_SIZES = 12
#: So many operations run in search of inputs: as many seconds would find others on another machine.
_MOST_WORK = 200_000
#: Sizes that are tried all together have no more elements than these.
_WIDEST = 1 << 15

#: Numbers that a tensor of the input may hold.
NORMAL, POSITIVE, INDICES, MASK, LARGE = "normal", "positive", "indices", "mask", "large"
#: So many indices are tried, from 1.
TRIED_INDICES = 2

Runs = Callable[[list[Shape], Sequence[str]], bool]


@dataclass
class Pattern:
    """Inputs of one kind.

    Attributes:
        nested: is the input a list?
        sizes: for each tensor its dimensions: a number that must be, or the name of a free size.
        holds: for each tensor which numbers.
        values: name of a free size -> sizes that do.
    """

    nested: bool
    sizes: list[list[int | str]]
    holds: list[str]
    values: dict[str, list[int]] = field(default_factory=dict)

    def shapes(self, chosen: dict[str, int]) -> list[Shape]:
        """The sizes of the tensors for chosen free sizes."""
        return [tuple(chosen[size] if isinstance(size, str) else size for size in sizes) for sizes in self.sizes]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"nested": self.nested, "sizes": self.sizes, "holds": self.holds}


def numbers_in(layer: LuaObject) -> list[int]:
    """Sizes that the fields of a layer name: whole numbers, and the sizes of its tensors."""
    found: dict[int, None] = {}
    stack: list[Value] = [held for key, held in layer.items() if key not in ("output", "gradInput")]
    while stack and len(found) < 16:
        item = stack.pop(0)
        if isinstance(item, float) and item == item and 1 <= item <= 4096 and item == int(item):
            found[int(item)] = None
        elif isinstance(item, Tensor):
            found.update(dict.fromkeys(extent for extent in item.size if extent > 1))
        elif isinstance(item, Storage) and len(item.data) <= 8:
            stack += [float(value) for value in item.data.tolist()]
        elif isinstance(item, (LuaTable, LuaObject)):
            stack += [held for key, held in item.items() if key not in ("output", "gradInput")]
    few = list(found)[:6]
    found.update(dict.fromkeys(a * b for a in few for b in few if a * b <= 512))
    found.update(dict.fromkeys(a + b for a in few for b in few))
    return list(found)[:40]


def recorded_sizes(layer: LuaObject) -> tuple[bool, list[Shape]] | None:
    """The input of the last run, as the gradient of it tells: is it a list, and the sizes."""
    value = layer.get("gradInput")
    if isinstance(value, Tensor):
        return (False, [value.size]) if value.size else None
    if isinstance(value, LuaTable) and value.is_list and len(value):
        parts = value.list()
        if all(isinstance(part, Tensor) and part.size for part in parts):
            return True, [part.size for part in parts if isinstance(part, Tensor)]
    return None


def tensors_expected(layer: LuaObject) -> int | None:
    """How many tensors the input has, as the field of its gradient tells; None: not known; 0: one, and no list."""
    value = layer.get("gradInput")
    if isinstance(value, Tensor):
        return 0
    return len(value) if isinstance(value, LuaTable) and len(value) else None


def patterns(layer: LuaObject, runs: Runs, work: Callable[[], int], criterion: bool = False) -> list[Pattern]:
    """The kinds of inputs that a layer takes, the recorded one first.

    Args:
        layer: the layer.
        runs: does its Lua run on tensors of these sizes, with such numbers, one tensor or a list (its third argument)?
        work: how many operations ran so far.
        criterion: is it a loss? Then the last tensor of the list is the target.
    """
    numbers = numbers_in(layer)
    found: list[Pattern] = []
    known = recorded_sizes(layer)
    expected = tensors_expected(layer)
    kinds: list[tuple[bool, int]] = [(False, 1), (True, 2), (True, 3), (True, 1)]
    if known is not None:
        kinds = [(known[0], len(known[1]))]
    elif expected is not None and expected > 0:
        kinds = [(True, expected), (False, 1)]
    elif expected == 0:
        kinds = [(False, 1), (True, 2), (True, 3)]
    elif isinstance(layer.get("gradInput"), LuaTable):  # a list, whose length no run has told
        kinds = [(True, 2), (True, 3), (True, 1), (False, 1)]
    if criterion:
        known, kinds = None, [(True, expected + 1)] if expected else [(True, 2), (True, 3)]
    for nested, count in kinds:
        most = work() + _MOST_WORK // len(kinds)
        for holds, together in product(_holdings(count), (0, 1, 2)):  # sizes of every rank as they are come first
            if known is not None:
                _add(found, nested, known[1], holds, runs)
            for shapes in [*(_own_sizes(layer) if count == 1 and not nested else []), *_starts(count)]:
                if work() > most:
                    break
                ranks = [len(shape) for shape in shapes]
                if not any([len(sizes) for sizes in pattern.sizes] == ranks for pattern in found):
                    start = _first_that_runs(shapes, _asked(nested, holds), numbers, together, runs)
                    if start is not None:
                        _add(found, nested, start, holds, runs)
            if found and together:
                return found + (_with_any_target(found, runs) if criterion else _with_one_empty(found, runs))
    return found


def _with_one_empty(found: Sequence[Pattern], runs: Runs) -> list[Pattern]:
    """The same kinds with one tensor of the list empty, which authors give where there is none."""
    more: list[Pattern] = []
    for pattern in found if len(found[0].sizes) > 1 else ():
        start = pattern.shapes({name: works[0] for name, works in pattern.values.items()})
        for place in range(len(start)):
            shapes = [(0,) if at == place else shape for at, shape in enumerate(start)]
            ranks = [len(shape) * bool(math.prod(shape)) for shape in shapes]
            known = any([len(sizes) * (0 not in sizes) for sizes in other.sizes] == ranks for other in more)
            if not known and runs(shapes, _asked(pattern.nested, pattern.holds)):
                more.append(_freed(pattern.nested, shapes, pattern.holds, runs))
    return more


def _with_any_target(found: Sequence[Pattern], runs: Runs) -> list[Pattern]:
    """The same kinds with a target of one number, which authors give where a loss reads none."""
    more: list[Pattern] = []
    for pattern in found:
        start = pattern.shapes({name: works[0] for name, works in pattern.values.items()})
        ranks = [*map(len, start[:-1]), 1]
        if not any(list(map(len, other.sizes)) == ranks for other in [*found, *more]):
            _add(more, pattern.nested, [*start[:-1], (1,)], pattern.holds, runs)
    return more


def _add(found: list[Pattern], nested: bool, start: list[Shape], holds: Sequence[str], runs: Runs) -> None:
    ranks = [len(shape) for shape in start]
    if any([len(sizes) for sizes in pattern.sizes] == ranks for pattern in found):
        return
    large = [LARGE if held == NORMAL else held for held in holds]  # numbers that were indices by chance are none then
    if runs(start, _asked(nested, holds)) and runs(start, _asked(nested, large)):
        found.append(_freed(nested, start, holds, runs))


def _asked(nested: bool, holds: Sequence[str]) -> Sequence[str]:
    return ["list", *holds] if nested else list(holds)


def _holdings(count: int) -> Iterator[tuple[str, ...]]:
    """Which numbers the tensors hold: any, else indices in one or all of them or a mask in one, else such above 0."""
    yield (NORMAL,) * count
    for place in reversed(range(count)):
        yield tuple(INDICES if at == place else NORMAL for at in range(count))
    for place in reversed(range(count)) if count > 1 else ():
        yield tuple(MASK if at == place else NORMAL for at in range(count))
    if count > 1:
        yield (INDICES,) * count
    yield (POSITIVE,) * count


def _own_sizes(layer: LuaObject) -> list[list[Shape]]:
    """The sizes of a layer's tensors, and those of a batch: an input may be compared with one, such as a target."""
    held = [value for key, value in layer.items() if key not in ("output", "gradInput")]
    sizes = list(dict.fromkeys(value.size for value in held if isinstance(value, Tensor) and value.size))[:6]
    return [[size] for size in [*sizes, *[(_BASE[0], *size) for size in sizes if len(size) > 1]]]


def _starts(count: int) -> Iterator[list[Shape]]:
    """Sizes to begin with, of every rank; of lists first those of every rank that are alike."""
    if count == 1:
        for rank in (2, 4, 3, 1, 5):
            first = _BASE[:rank]
            yield [first]
            if rank > 1:
                yield [(*first[:-1], first[-2])]
        return
    of_ranks = [list(_starts_of_lists(rank, count)) for rank in (2, 3, 4, 1)]
    for together in zip_longest(*of_ranks):
        yield from (shapes for shapes in together if shapes is not None)


def _starts_of_lists(rank: int, count: int) -> Iterator[list[Shape]]:
    first = _BASE[:rank]
    rest: list[Shape] = [first, (*first[:-1], 9), first[:-1], first[:1], (1,), (3, 9), (3,)]
    if rank > 1:
        rest += [(first[0], 9, first[-1]), (first[-1], 9), (*first[:-2], first[-1]), (*first, 9)]
    if rank > 2:
        rest.append((*first[:2], *[1] * (rank - 2)))  # a number for each plane
    for other in dict.fromkeys(shape for shape in rest if shape):
        yield [first, *[other] * (count - 1)]


def _first_that_runs(
    shapes: list[Shape], asked: Sequence[str], numbers: list[int], together: int, runs: Runs
) -> list[Shape] | None:
    """Sizes like these with which the Lua runs: none, one or two are put in their places that the layer's fields name.

    Those of which none is are not tried again for one.
    """
    if together == 0:
        return shapes if runs(shapes, asked) else None
    values = sorted({extent for shape in shapes for extent in shape})
    for which in combinations(values, together):
        tried = [*numbers[:40], *_SMALL] if together == 1 else [*numbers[:8], *_SMALL[:3]]
        for chosen in product(dict.fromkeys(tried), repeat=together):
            other = dict(zip(which, chosen, strict=True))
            start = [tuple(other.get(extent, extent) for extent in shape) for shape in shapes]
            if runs(start, asked):
                return start
    return None


def _freed(nested: bool, start: list[Shape], holds: Sequence[str], runs: Runs) -> Pattern:
    """Which sizes may be others: each by itself, or with all that are the same."""
    asked = _asked(nested, holds)
    sizes: list[list[int | str]] = [list(shape) for shape in start]
    values: dict[str, list[int]] = {}
    _free(start, sizes, values, asked, runs)
    if values and any(isinstance(size, int) for shape in sizes for size in shape):
        # one may be bounded by another, such as how many rows are kept by how many there are
        wide = _widest(sizes, values)
        if wide != start and runs(wide, asked):
            _free(wide, sizes, values, asked, runs)
    return Pattern(nested, sizes, list(holds), values)


def _widest(sizes: list[list[int | str]], values: dict[str, list[int]]) -> list[Shape]:
    """The largest sizes that were found, or smaller ones where such a tensor would be large."""
    wide: list[Shape] = []
    for down in range(1, max(map(len, values.values())) + 1):
        wide = [tuple(e if isinstance(e, int) else values[e][-min(down, len(values[e]))] for e in one) for one in sizes]
        if max(map(math.prod, wide)) <= _WIDEST:
            break
    return wide


def _free(
    start: list[Shape], sizes: list[list[int | str]], values: dict[str, list[int]], asked: Sequence[str], runs: Runs
) -> None:
    """Gives the sizes that may be others a name, beginning from sizes that do."""
    for place, shape in enumerate(start):
        for axis, extent in enumerate(shape):
            if isinstance(sizes[place][axis], str) or not extent:
                continue
            alone = {(place, axis)}
            same = {
                (p, a)
                for p, other in enumerate(start)
                for a, e in enumerate(other)
                if e == extent and not isinstance(sizes[p][a], str)
            }
            for group in (alone, same) if same != alone else (alone,):
                works = list(islice((size for size in _POOL if runs(_with(start, group, size), asked)), _MOST_SIZES))
                if len(works) >= LEAST:
                    name = f"s{len(values)}"
                    values[name] = works
                    for p, a in group:
                        sizes[p][a] = name
                    break


def _with(shapes: list[Shape], group: set[tuple[int, int]], size: int) -> list[Shape]:
    return [tuple(size if (p, a) in group else e for a, e in enumerate(shape)) for p, shape in enumerate(shapes)]


def chosen_sizes(pattern: Pattern, runs: Runs, count: int, seed: int) -> list[dict[str, int]]:
    """Free sizes with which the Lua runs, all together others each time, and no two of them alike where that can be."""
    generator = torch.Generator().manual_seed(seed)
    asked = _asked(pattern.nested, pattern.holds)
    found: list[dict[str, int]] = []
    for strict in (True, False):
        for _ in range(60):
            if len(found) >= count:
                return found
            chosen: dict[str, int] = {}
            for name, values in pattern.values.items():
                chosen[name] = values[int(torch.randint(len(values), (), generator=generator))]
            fixed = [size for sizes in pattern.sizes for size in sizes if not isinstance(size, str)]
            alike = len(set(chosen.values())) < len(chosen) or bool(set(chosen.values()) & set(fixed))
            if strict and (alike or any(chosen[name] == other[name] for other in found for name in chosen)):
                continue
            if chosen not in found and runs(pattern.shapes(chosen), asked):
                found.append(chosen)
    return found


def example(pattern: Pattern, chosen: dict[str, int], dtype: torch.dtype, seed: int, how: str = "") -> Any:
    """An input of the pattern: a tensor, or a list.

    Args:
        pattern: what it must be.
        chosen: the free sizes.
        dtype: its type.
        seed: of the numbers.
        how: "ties", whole numbers near 0, many of them alike; "zeros"; "large"; "positive"; else random ones.
    """
    generator = torch.Generator().manual_seed(seed)
    made = []
    for shape, holds in zip(pattern.shapes(chosen), pattern.holds, strict=True):
        value = torch.randn(shape, generator=generator, dtype=torch.float64)
        if holds == INDICES:
            value = torch.randint(1, 1 + TRIED_INDICES, shape, generator=generator).double()
        elif how == "ties":
            value = (value * 1.2).round()
        elif how == "zeros":
            value = value * 0
        elif LARGE in (how, holds):
            value = value * 30
        if holds == POSITIVE or (how == POSITIVE and holds == NORMAL):
            value = value.abs() + 0.1
        if holds == MASK:
            made.append((value > 0).to(torch.uint8))
            continue
        made.append((value + 0.0).to(dtype))  # Lua's numbers come back from there without the sign of a zero
    return made if pattern.nested else made[0]
