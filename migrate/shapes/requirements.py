"""What Torch7's layers require of their inputs, and PyTorch does not: where it would take more, a trial refuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from math import prod
from typing import Any, Self

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..base.tensor_trees import leaves
from ..model.layer_record import LayerRecord

#: Operators that multiply matrices, and those that go element by element.
PRODUCTS = frozenset({"matmul", "__matmul__", "bmm", "mm", "baddbmm", "addmm"})
_ELEMENTWISE = frozenset({"add", "sub", "mul", "div", "__add__", "__sub__", "__mul__", "__truediv__"})

#: Dimensions of a batch of matrices.
_BATCHED = 3


class Requirements(TorchFunctionMode):
    """In its context a model and a copy of it refuse inputs of their layers that Torch7 refuses.

    Operands are not broadcast, picked indices are a vector, and some layers take a matrix at most.

    Args:
        layers: of the model.
        memo: leads from each module to its copy, as `on_meta` leaves it; {} where there is no copy.
    """

    def __init__(self, layers: Iterable[LayerRecord], memo: Mapping[int, Any]) -> None:
        super().__init__()
        self._hooked: list[tuple[nn.Module, Any]] = []
        records = list(layers)
        whole = {record.path for record in records if not record.traits.flow}
        for record in records:
            # what is in a layer that does all by itself may run otherwise than in Torch7
            required = None if whole.intersection(_above(record.path)) else self._required(record)
            for part in (record.module, memo.get(id(record.module))) if required else ():
                if isinstance(part, nn.Module):
                    self._hooked.append((part, required))
        self._inside = False  # is a layer of operands running?
        self._hooks: list[Any] = []

    def _required(self, record: LayerRecord) -> Any:
        """What checks the input of a layer; None where PyTorch requires as much as Torch7."""
        traits = record.traits
        if traits.flow == "operands":
            return self._begin
        if traits.flow == "picks":
            return _require_vector
        return partial(_require_dimensions, traits.most_dims) if traits.most_dims else None

    def __enter__(self) -> Self:
        self._inside = False
        for module, required in self._hooked:
            self._hooks.append(module.register_forward_pre_hook(required))
            if required == self._begin:
                self._hooks.append(module.register_forward_hook(self._end))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        while self._hooks:
            self._hooks.pop().remove()

    def _begin(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        operands = [tuple(tensor.shape) for _, tensor in leaves(args)]
        if len(set(map(len, operands))) > 1 and len(set(map(prod, operands))) > 1:
            raise RuntimeError(f"its operands have different dimensions: {operands}")
        self._inside = True

    def _end(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._inside = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._inside:
            _require_alike(getattr(func, "__name__", ""), args)
        return func(*args, **(kwargs or {}))


def _above(path: str) -> Iterator[str]:
    """The paths of what a layer is in."""
    while path:
        path = path.rpartition(".")[0]
        yield path


def _require_dimensions(most: int, module: nn.Module, args: tuple[Any, ...]) -> None:
    if args and isinstance(args[0], torch.Tensor) and args[0].dim() > most:
        raise RuntimeError(f"it takes {most} dimensions at most, not an input of {tuple(args[0].shape)}")


def _require_vector(module: nn.Module, args: tuple[Any, ...]) -> None:
    indices = tuple(args[0][1].shape)
    if len(indices) != 1:
        raise RuntimeError(f"its indices are a vector, not of {indices}")


def _require_alike(name: str, args: tuple[Any, ...]) -> None:
    got = [tuple(item.shape) for item in args if isinstance(item, torch.Tensor)][:2]
    if len(got) < 2 or len(got[0]) != len(got[1]):
        return
    if name in PRODUCTS and len(got[0]) == _BATCHED and got[0][0] != got[1][0]:
        raise RuntimeError(f"it takes batches of as many matrices, not of {got[0][0]} and {got[1][0]}")
    if name in _ELEMENTWISE and got[0] != got[1]:
        raise RuntimeError(f"it takes operands of the same sizes, not {got[0]} and {got[1]}")
