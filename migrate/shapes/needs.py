"""What an operator or layer that refuses its input wants of it, as differences that have to become 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import combinations, islice
from math import prod
from typing import Any

from torch import nn

from ..t7 import LuaTable, Storage
from .input_readers import INDICES, channels_of
from .observed_run import BATCH, Observed, Site, Sizes
from .requirements import PRODUCTS

#: How far the sizes of what a call gets are from what it wants.
Need = Callable[[Sizes], int]


def needs_of(observed: Observed) -> tuple[Site, list[Need]]:
    """What would let a run go on, the likeliest first, and the call whose sizes tell that."""
    site = observed.site or ("layer", 0)
    operands = observed.layer is not None and observed.layer.traits.flow == "operands"
    if operands and observed.function not in _WEIGHTED:
        site = ("layer", observed.layer_number)  # by itself it says more than its operators
        got = observed.at(site) or ()
        found = _of_operands(observed, got)
    else:
        got = observed.at(site) or ()
        found = _of_operator(observed, got) if observed.function else _of_layer(observed, got)
    needs: list[Need] = []
    with suppress(IndexError, TypeError, ValueError):  # a call that is refused may have any arguments
        needs.extend(need for need in (found if got else ()) if _differs(need, got))
    return site, needs


def _of_operands(observed: Observed, got: Sizes) -> Iterator[Need]:
    """Operands have as many dimensions, and the same sizes, unless they are multiplied as matrices."""
    if len({len(sizes) for sizes in got}) > 1:
        return  # no size makes up for a dimension
    if observed.function in _JOINING:
        yield from _joined(got, observed.options.get("dim", (*observed.arguments, 0, 0)[1]))
    elif observed.function in PRODUCTS:
        taken = observed.at(observed.site) if observed.site else None
        if taken and len(taken) > 1 and len(got) > 1 and len(got[0]) > 1:
            # transposed or not: the axes of the layer's input that hold what does not agree
            first = 1 if taken[0][-1] == got[0][-1] else 2
            other = 2 if taken[1][-2] == got[1][-2] else 1
            yield _equal((0, -first), (1, -other))
            if len(got[0]) == _BATCHED:
                yield _equal((0, 0), (1, 0))
    else:
        yield from _alike(got)


_WEIGHTED = ("linear", "bilinear")
_JOINING = ("cat", "concat", "stack")

#: Dimensions of a matrix, and of a batch of them.
_MATRIX = 2
_BATCHED = 3

#: So many pairs of operands are compared.
_MOST_PAIRS = 2_000


def _differs(need: Need, sizes: Sizes) -> bool:
    try:
        return need(sizes) != 0
    except (IndexError, ZeroDivisionError):
        return False


def _of_operator(observed: Observed, got: Sizes) -> Iterator[Need]:
    name, args, options = observed.function, observed.arguments, observed.options
    if name == "linear":
        yield _axis(0, -1, got[1][1])
    elif name.startswith("conv_transpose") and len(got) > 1:
        yield _axis(0, 1 - len(got[1]), got[1][0])
    elif name.startswith("conv") and len(got) > 1:
        windows = len(got[1]) - 2
        groups = options.get("groups", args[6] if len(args) > 6 else 1)
        yield _axis(0, -windows - 1, got[1][1] * groups)
        for i in range(1, windows + 1):
            if len(got[0]) >= windows and got[0][-i] < got[1][-i]:
                yield _axis(0, -i, got[1][-i])
    elif "pool" in name and len(args) > 1:
        kernel = args[1] if isinstance(args[1], (list, tuple)) else [args[1]] * 2
        for i, size in enumerate(reversed(kernel), 1):
            if i <= len(got[0]) and got[0][-i] < size:
                yield _axis(0, -i, size)
    elif name in ("batch_norm", "prelu") and len(got) > 1:
        yield _axis(0, 1, got[1][0])
    elif name == "bilinear":
        yield from (_axis(0, -1, got[2][1]), _axis(1, -1, got[2][2]))
    elif name in _JOINING:
        yield from _joined(got, options.get("dim", (*args, 0, 0)[1]))
    elif name in PRODUCTS and len(got) > 1:
        yield from _product(len(got) - 2, got)
    elif name in ("reshape", "view", "unflatten", "expand"):
        yield from _reshaped(name, args, got[0])
    elif name in ("narrow", "select", "__getitem__"):
        yield from _within(name, args, got[0])
    else:
        yield from _alike(got)


def _axis(number: int, dim: int, wanted: int) -> Need:
    def need(sizes: Sizes) -> int:
        return sizes[number][dim] - wanted

    return need


def _equal(one: tuple[int, int], other: tuple[int, int]) -> Need:
    def need(sizes: Sizes) -> int:
        return sizes[one[0]][one[1]] - sizes[other[0]][other[1]]

    return need


def _count(number: int, wanted: int) -> Need:
    def need(sizes: Sizes) -> int:
        return prod(sizes[number]) - wanted

    return need


def _pairs(got: Sizes) -> Iterator[tuple[int, int]]:
    """Pairs of tensors, those with the first one first; of thousands that are added up not all."""
    return islice(combinations(range(len(got)), 2), _MOST_PAIRS)


def _joined(got: Sizes, axis: Any) -> Iterator[Need]:
    """Tensors that are joined along an axis have the same sizes along the others."""
    for a, b in _pairs(got):
        rank = len(got[a])
        if rank == len(got[b]):
            yield from (_equal((a, d), (b, d)) for d in range(rank) if d not in (axis, axis + rank))


def _alike(got: Sizes) -> Iterator[Need]:
    """Tensors that are added or multiplied have the same sizes, or 1."""
    for a, b in _pairs(got):
        for i in range(1, min(len(got[a]), len(got[b])) + 1):
            if 1 not in (got[a][-i], got[b][-i]):
                yield _equal((a, -i), (b, -i))


def _product(first: int, got: Sizes) -> Iterator[Need]:
    a, b = got[first], got[first + 1]
    if len(a) > 1 and len(b) > 1:
        yield _equal((first, -1), (first + 1, -2))
        if len(a) == len(b) == 3:
            yield _equal((first, 0), (first + 1, 0))
    elif a and b:
        yield _equal((first, -1), (first + 1, 0))


def _integers(args: Any) -> list[int]:
    found: list[int] = []
    for item in args:
        found += [item] if isinstance(item, int) else _integers(item) if isinstance(item, (list, tuple)) else []
    return found


def _reshaped(name: str, args: tuple[Any, ...], x: tuple[int, ...]) -> Iterator[Need]:
    wanted = _integers(args[1:])
    if name == "expand":
        yield from (_axis(0, -i, n) for i, n in enumerate(reversed(wanted), 1) if n > 0 and i <= len(x))
    elif name == "unflatten" and wanted:
        yield _axis(0, wanted[0], prod(wanted[1:]))
    elif wanted:
        known = prod(n for n in wanted if n > 0)
        if -1 not in wanted or not x:
            yield _count(0, known)
        elif len(wanted) > 1 and wanted[0] == x[0]:  # of each sample
            yield from (_axis(0, d, n) for n in wanted[1:] if n > 1 for d in range(1, len(x)))
            yield _count(0, -(-prod(x) // known) * known)
        else:
            yield from _multiples(x, known, wanted[-1])
            yield from (_axis(0, d, n) for n in wanted if n > 1 and n != x[0] for d in range(1, len(x)))


def _multiples(x: tuple[int, ...], known: int, last: int) -> Iterator[Need]:
    """A view of sizes one of which is open: rows that are long enough, all of a sample, or any multiple."""
    rows = [_axis(0, -1, length) for length in dict.fromkeys((known, last)) if length > 0]
    samples = [_count(0, BATCH * known)] if x and x[0] % BATCH == 0 else []
    yield from (*samples, *rows) if len(x) > _MATRIX else (*rows, *samples)
    if len(x) > 1:
        yield _count(0, x[0] * known)
        yield _count(0, prod(x[:-1]) * known)
    yield _count(0, -(-prod(x) // known) * known)


def _within(name: str, args: tuple[Any, ...], x: tuple[int, ...]) -> Iterator[Need]:
    """A slice of an axis lies inside it."""
    if name == "narrow" and len(args) > 3:
        yield _axis(0, int(args[1]), int(args[2]) + int(args[3]))
    elif name == "select" and len(args) > 2:
        yield _axis(0, int(args[1]), int(args[2]) + 1)
    elif name == "__getitem__":
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        yield from (_axis(0, d, n + 1) for d, n in enumerate(index) if isinstance(n, int) and n >= 0 and d < len(x))


def _of_layer(observed: Observed, got: Sizes) -> Iterator[Need]:
    record = observed.layer
    if record is None:
        return
    if isinstance(record.module, nn.RNNBase):
        yield _axis(0, -1, record.module.input_size)
    size, children = record.object.get("size"), record.object.get("modules")
    if record.traits.keeps_numbers and isinstance(size, Storage) and got:
        numbers = [int(n) for n in size.data if n > 0]
        yield from _multiples(got[0], prod(numbers), -1)
    if isinstance(children, LuaTable) and record.traits.flow in ("entries", "slices"):
        yield _entries(len(children))
    channels = channels_of(record)
    if channels and record.traits.reads != INDICES and got:
        yield from (_axis(0, d, channels) for d in range(-len(got[0]), 0))


def _entries(count: int) -> Need:
    def need(sizes: Sizes) -> int:
        return len(sizes) - count

    return need
