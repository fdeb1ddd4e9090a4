"""Example inputs that show which sizes of a model are fixed, and which may be others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from math import inf
from typing import Any, Literal

import torch
from torch import nn

from ..base.tensor_trees import apply, leaves, numbered, shapes
from ..model.conversion import ConvertedModel
from ..model.layer_runs import count_runs
from ..model.running.answers import ask
from ..shapes.dry_run import answer_of, on_meta, run
from ..shapes.search_budget import Budget, Operators, Spent


@dataclass(frozen=True)
class Example:
    """An input of a model, and what the model gives (with the random numbers of seed 0)."""

    input: Any
    output: Any


#: Layers that take time, and that give the same of the same numbers, in memory of its own.
_SLOW = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    nn.Linear,
)


#: How the size of an axis is changed: a number is that of entries that are added.
_Change = Literal["doubled", "less"] | int

#: So many parts of a table are made larger alone; those of images are not.
_PARTS, _IMAGE = 8, 4

#: No larger number of samples is looked for of which only multiples fit.
_MOST_SAMPLES = 1 << 10

#: Larger inputs that need more multiplications, and so many times more than the first, are not tried.
_PRODUCTS, _TIMES = 1 << 34, 8

#: A model of more runs of layers, or operators of all runs in search of sizes, is written for the first size alone.
_RUNS, _OPERATORS = 5_000, 60_000


class Calls:
    """What slow layers gave while the examples ran: the same operator need not run again on the same numbers."""

    def __init__(self) -> None:
        self._calls: dict[tuple[Any, int], list[_Call]] = {}

    def copy(self) -> Calls:
        """The same, for another who asks once."""
        copied = Calls()
        copied._calls = {key: list(known) for key, known in self._calls.items()}
        return copied

    @contextmanager
    def watched(self, module: nn.Module, example: int) -> Iterator[None]:
        """Notes what the slow layers of a model give inside the block.

        Args:
            module: the model.
            example: the number of the example on which it runs.
        """

        def note(part: nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: torch.Tensor) -> None:
            if len(args) == 1 and not options:
                call = _Call(args[0], output, (args[0]._version, output._version))
                self._calls.setdefault((_operator(part), example), []).append(call)

        with ExitStack() as hooks:
            for part in module.modules():
                if type(part) in _SLOW:
                    hooks.enter_context(part.register_forward_hook(note, with_kwargs=True))
            yield

    def take(self, module: nn.Module, example: int, value: Any) -> torch.Tensor | None:
        """What a layer gave on these numbers, for one who asks once; None where it has to run."""
        if type(module) not in _SLOW:
            return None
        known = self._calls.get((_operator(module), example), [])
        found = next((call for call in known if call.holds and _same_bits(call.given, value)), None)
        if found is None:
            return None
        known.remove(found)
        return found.output

    def answer_for(self, module: nn.Module, example: int) -> None:
        """Lets the slow layers of another model take what the same operators gave, and run where nothing is known."""
        for part in module.modules():
            if type(part) in _SLOW:
                part.forward = partial(self._answer, part, example, part.forward)

    def _answer(self, part: nn.Module, example: int, forward: Any, *args: Any, **options: Any) -> Any:
        known = self.take(part, example, args[0]) if len(args) == 1 and not options else None
        return forward(*args, **options) if known is None else known


def _operator(layer: nn.Module) -> tuple[Any, ...]:
    """Tells what a slow layer computes: its class and options, and the very memory of its parameters."""
    operands = [
        (name, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        for name, tensor in layer.named_parameters()
    ]
    return type(layer), layer.extra_repr(), *operands


@dataclass(frozen=True, eq=False)
class _Call:
    given: torch.Tensor
    output: torch.Tensor
    versions: tuple[int, int]

    @property
    def holds(self) -> bool:
        """Has nobody written into what was given and made?"""
        return (self.given._version, self.output._version) == self.versions


def _same_bits(a: torch.Tensor, b: Any) -> bool:
    """Are two tensors laid out alike, with the same bits? A zero of another sign is another number."""
    if not isinstance(b, torch.Tensor) or (a.dtype, a.shape, a.stride()) != (b.dtype, b.shape, b.stride()):
        return False
    bits = _BITS.get(a.dtype)
    return bits is not None and torch.equal(a.view(bits), b.view(bits))


#: Whole numbers as wide as the floating ones.
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def several_sizes(conv: ConvertedModel, value: Any, calls: Calls) -> list[Example]:
    """An input, and others: one more sample, then each other axis doubled, or one more, or less, if the model takes it.

    Where one more sample does not fit, as before `View(-1, 4, k)`, the next multiple of a divisor is tried.

    Of a table the parts grow together first, then those alone that the model takes alone or with parts of that size.

    Args:
        conv: the converted model.
        value: a tensor or nested list that the model accepts.
        calls: notes what its layers give.
    """
    first = _ran(conv, value, calls, 0)
    found = [first]
    if count_runs(conv.module) > _RUNS:
        return found
    sizes_only = on_meta(conv.module)
    budget = Budget(inf, conv.limits)
    operators = Operators(_OPERATORS)

    def products(of: Any) -> tuple[Any, int]:
        """What the model gives, and how many multiplications that takes; None if the limits do not allow it."""
        try:
            with budget, operators:
                answer = answer_of(conv.module, sizes_only, of, partial(apply, of, torch.clone))
        except Spent:  # a model of very many runs of layers is written for the size that is known
            return None, 0
        return answer, budget.products

    @cache
    def most() -> int:
        return _TIMES * products(value)[1]

    def grow(axis: int, parts: frozenset[int], change: _Change = 1) -> bool:
        """Adds an input some of whose parts are larger (or smaller) along an axis, if the model takes it."""
        larger = numbered(value, partial(_extended, axis, parts, change))
        if shapes(larger) == shapes(value):
            return False
        answer, needed = products(larger)
        if answer is None or (needed > _PRODUCTS and needed > most()):
            return False
        if axis == 0 and change != 1 and not _keeps_samples(first, larger, answer):
            return False
        if _mixes(first, answer) if axis > 0 else len(parts) < count and _rows(answer) != _rows(first.output):
            return False
        try:
            found.append(_ran(conv, larger, calls, len(found)))
        except Exception:  # whatever a layer raises on a size that it does not take
            return False
        return True

    tensors = [tensor for _, tensor in leaves(value)]
    count = len(tensors)
    for axis in range(max((tensor.dim() for tensor in tensors), default=0)):
        changes: tuple[_Change, ...] = ("doubled", 1, "less") if axis > 0 else _divisors({t.shape[:1] for t in tensors})
        _ = any(grow(axis, frozenset(range(count)), change) for change in changes)
    tried: set[tuple[int, frozenset[int]]] = set()
    for number, tensor in enumerate(tensors[:_PARTS] if count > 1 else ()):
        for axis in range(tensor.dim() if tensor.dim() < _IMAGE else 0):
            size = tensor.shape[axis : axis + 1]
            alike = frozenset(i for i, t in enumerate(tensors) if t.shape[axis : axis + 1] == size)
            for parts in (frozenset([number]), alike):
                if (axis, parts) in tried or len(parts) == count:
                    continue
                tried.add((axis, parts))
                if grow(axis, parts):
                    break
    return found


def _ran(conv: ConvertedModel, value: Any, calls: Calls, number: int) -> Example:
    with torch.no_grad(), torch.random.fork_rng(), calls.watched(conv.module, number):
        torch.manual_seed(0)
        ran = partial(run, conv.module, apply(value, torch.clone))
        return Example(value, ask(conv.answers, conv.module, value, ran))


def _mixes(first: Example, larger: Any) -> bool:
    """Did the number of samples change with their size, as behind a View of fixed size?"""
    batches = {tensor.shape[:1] for _, tensor in leaves(first.input)}
    before, after = ([tensor.shape[:1] for _, tensor in leaves(output)] for output in (first.output, larger))
    return set(before) == batches and len(before) == len(after) and before != after


def _divisors(batches: set[torch.Size]) -> tuple[int, ...]:
    """The divisors of the number of samples, the least first; 1 alone where parts of a table differ in it."""
    sizes = next(iter(batches)) if len(batches) == 1 else ()
    return tuple(d for n in sizes for d in range(1, min(n, _MOST_SAMPLES) + 1) if n % d == 0) or (1,)


def _keeps_samples(first: Example, larger: Any, answer: Any) -> bool:
    """Do outputs keep their dimensions, and have as many rows as there are samples where they had before?"""
    before, after = _rows(first.output), _rows(answer)
    if [row[0] for row in before] != [row[0] for row in after]:
        return False
    given, taken = ({tensor.shape[:1] for _, tensor in leaves(value)} for value in (first.input, larger))
    return {row[1:] for row in before} != given or {row[1:] for row in after} == taken


def _rows(value: Any) -> list[tuple[int, ...]]:
    return [(tensor.dim(), *tensor.shape[:1]) for _, tensor in leaves(value)]


def _extended(axis: int, parts: frozenset[int], change: _Change, number: int, tensor: Any) -> Any:
    """A tensor of the given parts with itself, or its first entry, behind it along an axis, or without its last one."""
    if number not in parts or not isinstance(tensor, torch.Tensor) or tensor.dim() <= axis:
        return tensor
    if change == "less":
        return tensor.narrow(axis, 0, max(1, tensor.shape[axis] - 1)).clone()
    more = tensor if change == "doubled" else tensor.narrow(axis, 0, change)
    return torch.cat([tensor, more], axis)
