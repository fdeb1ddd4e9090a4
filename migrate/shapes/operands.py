"""Layers of operands refuse what Torch7 refuses there, where PyTorch would repeat the smaller operand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..base.tensor_trees import leaves
from ..model.layer_record import LayerRecord

#: Operators that multiply matrices, and those that go element by element.
PRODUCTS = frozenset({"matmul", "__matmul__", "bmm", "mm", "baddbmm", "addmm"})
_ELEMENTWISE = frozenset(
    {f"{left}{name}{right}" for name in ("add", "sub", "mul", "div", "truediv") for left, right in (("", ""), ("__", "__"))}
)

#: Dimensions of a batch of matrices.
_BATCHED = 3


class Operands(TorchFunctionMode):
    """In its context a model and a copy of it refuse operands that Torch7 would not broadcast.

    Args:
        layers: of the model.
        memo: leads from each module to its copy, as `on_meta` leaves it; {} where there is no copy.
    """

    def __init__(self, layers: Iterable[LayerRecord], memo: Mapping[int, Any]) -> None:
        super().__init__()
        taking = [record.module for record in layers if record.traits.flow == "operands"]
        copies = [memo.get(id(module)) for module in taking]
        self._modules = [module for module in [*taking, *copies] if isinstance(module, nn.Module)]
        self._inside = False  # is such a layer running?
        self._hooks: list[Any] = []

    def __enter__(self) -> Operands:
        self._inside = False
        for module in self._modules:
            self._hooks.append(module.register_forward_pre_hook(self._begin))
            self._hooks.append(module.register_forward_hook(self._end))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        while self._hooks:
            self._hooks.pop().remove()

    def _begin(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        operands = [tuple(tensor.shape) for _, tensor in leaves(args)]
        if len(set(map(len, operands))) > 1 and len({torch.Size(sizes).numel() for sizes in operands}) > 1:
            raise RuntimeError(f"its operands have different dimensions: {operands}")
        self._inside = True

    def _end(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._inside = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._inside:
            _require_alike(getattr(func, "__name__", ""), args)
        return func(*args, **(kwargs or {}))


def _require_alike(name: str, args: tuple[Any, ...]) -> None:
    got = [tuple(item.shape) for item in args if isinstance(item, torch.Tensor)][:2]
    if len(got) < 2 or len(got[0]) != len(got[1]):
        return
    if name in PRODUCTS and len(got[0]) == _BATCHED and got[0][0] != got[1][0]:
        raise RuntimeError(f"it takes batches of as many matrices, not of {got[0][0]} and {got[1][0]}")
    if name in _ELEMENTWISE and got[0] != got[1]:
        raise RuntimeError(f"it takes operands of the same sizes, not {got[0]} and {got[1]}")
