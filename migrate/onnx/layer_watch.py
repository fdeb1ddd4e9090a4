"""Which layer runs while a model is traced, and which one fixes the size of an axis."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import leaves
from ..model.conversion import ConvertedModel

#: Which axes of each tensor of the input may have any size: (number of the tensor, axis) -> name.
Dynamic = dict[tuple[int, int], str]


class LayerNames:
    """How the Torch7 layers of the modules of a model are called, by module name."""

    def __init__(self, conv: ConvertedModel) -> None:
        self.paths: dict[str, str] = {}
        self._typenames = {path: record.typename for record in conv.layers for path in record.paths}
        for path, name in conv.module_names().items():
            self.paths.setdefault(name, path)

    def layer(self, name: str) -> str:
        """The innermost layer that a module belongs to, as a message names it: `nn.Linear at 3.1`."""
        while name and name not in self.paths:
            name = name.rpartition(".")[0]
        path = self.paths.get(name)
        return f"{self._typenames[path]} at {path or 'the top'}" if path is not None else "the model"


class Watch:
    """Hooks that see which module runs, and after which one an axis can no longer have the sizes that it should.

    Attributes:
        running: names of the modules that have begun and not ended, the innermost last.
        fixed_by: axis -> the first module that allows only some of its sizes.
    """

    def __init__(self, module: nn.Module) -> None:
        self.running: list[str] = []
        self.fixed_by: dict[str, str] = {}
        self._module = module
        self._sizes: dict[str, list[Any]] = {}
        self._seen = 0
        self._dynamic: Dynamic = {}
        self._wanted: Mapping[str, Sequence[int]] = {}

    @contextlib.contextmanager
    def on(self, dynamic: Dynamic, wanted: Mapping[str, Sequence[int]]) -> Iterator[Watch]:
        """Watches while the block runs; each axis should be able to have every wanted size."""
        self._dynamic, self._wanted = dynamic, wanted
        with contextlib.ExitStack() as hooks:
            for name, part in self._module.named_modules():
                hooks.enter_context(part.register_forward_pre_hook(partial(self._before, name)))
                hooks.enter_context(part.register_forward_hook(partial(self._after, name)))
            yield self

    def _before(self, name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self.running:
            tensors = [tensor for _, tensor in leaves(args[0])]
            for (number, dim), axis in self._dynamic.items():
                size: Any = tensors[number].shape[dim]
                if isinstance(size, torch.SymInt):
                    self._sizes.setdefault(axis, []).append(size)
        self.running.append(name)

    def symbols(self) -> dict[str, str]:
        """What stands for an axis in the traced graph -> the name of the axis."""
        found = {}
        for axis, sizes in self._sizes.items():
            for size in sizes:
                expression = size.node.shape_env.replace(size.node.expr)
                for symbol in expression.free_symbols - {expression}:  # the size is a multiple of it
                    found[str(symbol)] = f"({axis}//{expression / symbol})"
                found[str(expression)] = axis
        return found

    def _after(self, name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Looks whether what the tracer took for granted since the last module holds for all wanted sizes."""
        self.running.pop()
        seen = self._seen
        example = _symbols((size, int(size.node.hint)) for sizes in self._sizes.values() for size in sizes)
        for axis, sizes in self._sizes.items():
            environment = sizes[0].node.shape_env
            self._seen = len(environment.guards)
            conditions = [guard.expr for guard in environment.guards[seen:]]
            wanted = self._wanted.get(axis, ())
            fixed = any(environment.replace(size.node.expr).is_number for size in sizes)
            if axis not in self.fixed_by and (
                fixed
                or not all(
                    # a condition on several axes is asked of one at a time, as the runs that are compared are
                    _holds(condition, example | _symbols((size, n) for size in sizes))
                    for condition in conditions
                    for n in wanted
                )
            ):
                self.fixed_by[axis] = name


def _symbols(numbers: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    """What the symbols in sizes stand for, where the sizes are these numbers."""
    values = {}
    for size, number in numbers:
        for symbol in size.node.expr.free_symbols:
            values[symbol] = number // int(size.node.expr / symbol) if size.node.expr != symbol else number
    return values


def _holds(condition: Any, values: Mapping[Any, int]) -> bool:
    """Is a condition true for these symbols, as far as they tell?"""
    try:
        return str(condition.subs(values)) != "False"
    except (TypeError, ValueError, ArithmeticError):
        return True
