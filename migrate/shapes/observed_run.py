"""Runs a model without numbers and notes what each operator and layer gets, to see what refuses sizes, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import torch

from ..base.tensor_trees import apply
from ..model.conversion import ConvertedModel
from ..model.layer_record import LayerRecord
from ..t7 import LuaTable, Storage
from .dry_run import SizesOnly, on_meta, run
from .random_input import floating_type, make_input
from .requirements import Requirements
from .search_budget import Budget, Spent

#: The sizes of the tensors among the arguments of a call.
Sizes = tuple[tuple[int, ...], ...]

#: A call, by number: of an operator, or of a layer.
Site = tuple[str, int]


#: A batch of so many samples shows where it goes: hardly anything else has this size.
BATCH = 29


@dataclass
class Observed:
    """One run.

    Attributes:
        calls: what each operator got, in order.
        entered: what each layer got, in order.
        site: what refuses its input; None if the run came to its end.
        function: the operator that does; None where a layer does so itself.
        arguments: what it got.
        layer: the innermost layer in which that is, and its number among those that were entered.
        answer: what the model gives.
        calls_before: how many operators ran before the last layer was entered.
        splits: did a View of fixed size make several samples of what it got?
    """

    calls: list[Sizes] = field(default_factory=list)
    entered: list[Sizes] = field(default_factory=list)
    site: Site | None = None
    function: str = ""
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    layer: LayerRecord | None = None
    layer_number: int = 0
    answer: Any = None
    calls_before: int = 0
    splits: bool = False

    @property
    def fits(self) -> bool:
        """Did the run come to its end?"""
        return self.site is None

    @property
    def progress(self) -> int:
        """How far it came: how many layers it entered, and how many operators of the last one ran."""
        return (len(self.entered) << 10) + min(len(self.calls) - self.calls_before, 1023)

    def at(self, site: Site) -> Sizes | None:
        """What a call got; None where the run did not come so far."""
        kind, number = site
        seen = self.calls if kind == "operator" else self.entered
        return seen[number] if number < len(seen) else None


class _Noting(SizesOnly):
    """Notes what each operator gets, and which one fails."""

    def __init__(self, observed: Observed) -> None:
        super().__init__()
        self.observed = observed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("__get__", "dim", "size", "numel"):  # no arithmetic, and never refused
            return super().__torch_function__(func, types, args, kwargs)
        self.observed.calls.append(_sizes(args))
        try:
            return super().__torch_function__(func, types, args, kwargs)
        except (NotImplementedError, Spent):
            raise
        except Exception:
            if self.observed.site is None:
                self.observed.site = ("operator", len(self.observed.calls) - 1)
                self.observed.function, self.observed.arguments, self.observed.options = name, args, kwargs or {}
            raise


class Runs:
    """Runs one model on inputs of which only the sizes matter.

    Args:
        conv: the converted model; it is not changed.
        budget: how much may be computed.

    Attributes:
        count: how many runs there were.
    """

    def __init__(self, conv: ConvertedModel, budget: Budget) -> None:
        self.conv = conv
        self.budget = budget
        self.count = 0
        self._dtype = floating_type(conv.module)
        self._memo: dict[int, Any] = {}
        self._meta: Any = on_meta(conv.module, self._memo)
        self._requirements = Requirements(conv.layers, self._memo)

    def on(self, sizes: Any) -> Observed:
        """One run on an input of these sizes.

        Raises:
            Spent: the budget is.
        """
        self.count += 1
        if self._meta is not None:
            observed, missing = self._observe(self._meta, apply(sizes, self._empty, tuple))
            if not missing:
                return observed
            self._meta, self._memo = None, {}  # some operator needs numbers
        return self._observe(self.conv.module, make_input(self.conv, sizes))[0]

    def _empty(self, sizes: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(sizes, dtype=self._dtype, device="meta")

    def _observe(self, module: torch.nn.Module, value: Any) -> tuple[Observed, bool]:
        observed = Observed()
        running: list[tuple[LayerRecord, int]] = []

        def begin(record: LayerRecord, part: Any, args: tuple[Any, ...]) -> None:
            observed.entered.append(_sizes(args))
            observed.calls_before = len(observed.calls)
            running.append((record, len(observed.entered) - 1))
            if _left_over(record, args):
                raise RuntimeError("it would leave out entries of its input")
            if (wanted := _fixed(record)) and len(observed.entered[-1]) == 1:
                x = observed.entered[-1][0]
                observed.splits |= prod(x) != wanted
                if x[:1] == (BATCH,) and all(prod(x[i:]) != wanted for i in range(1, len(x))):
                    raise RuntimeError("it would make other samples of the batch")

        def end(record: LayerRecord, part: Any, args: tuple[Any, ...], output: Any) -> None:
            while running and running.pop()[0] is not record:
                pass

        hooks = list(self._hooks(begin, end))
        try:
            with torch.no_grad(), self.budget, self._requirements, _Noting(observed):
                observed.answer = run(module, value)
        except Spent:
            raise
        except NotImplementedError:
            return observed, True
        except Exception:  # whatever a layer raises on sizes that it does not take
            if running:
                observed.layer, observed.layer_number = running[-1]
                if observed.site is None:
                    observed.site = ("layer", observed.layer_number)
            elif observed.site is None:
                observed.site = ("layer", 0)
        else:
            observed.site = None
        finally:
            for hook in hooks:
                hook.remove()
        return observed, False

    def _hooks(self, begin: Callable[..., None], end: Callable[..., None]) -> Iterator[Any]:
        for record in reversed(self.conv.layers):  # where one module stands for a layer and the one in it
            part = self._memo.get(id(record.module), record.module)
            yield part.register_forward_hook(partial(end, record))
            yield part.register_forward_pre_hook(partial(begin, record), prepend=True)


def _left_over(record: LayerRecord, args: tuple[Any, ...]) -> bool:
    """Does a layer get more entries of a table than it has children to read them?"""
    children = record.object.get("modules")
    if record.traits.flow != "entries" or record.traits.recurrent or not isinstance(children, LuaTable):
        return False
    return len(args) == 1 and isinstance(args[0], (list, tuple)) and len(args[0]) > len(children)


def _fixed(record: LayerRecord) -> int:
    """How many numbers a View makes a sample of; 0 where one of its sizes is open, and for other layers."""
    size = record.object.get("size")
    if not record.traits.keeps_numbers or not isinstance(size, Storage):
        return 0
    return max(0, prod(int(n) for n in size.data)) if all(n > 0 for n in size.data) else 0


def _sizes(value: Any) -> Sizes:
    return tuple(tuple(tensor.shape) for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
