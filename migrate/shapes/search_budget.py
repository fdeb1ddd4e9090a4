"""Ends a search after a certain amount of work, counted so that it comes out the same on every machine."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

#: How many operators a search may run; on a usual processor that takes up to 20 seconds.
_OPERATORS = 60_000

#: So much arithmetic, or so many numbers that are written, count as one operator more.
_ARITHMETIC, _NUMBERS = 10_000_000, 1_000_000


class Spent(BaseException):
    """The work that was allowed is done. No error of a model, so whatever ignores these does not ignore it."""


class Budget(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that run in its context, and what they compute.

    Attributes:
        left: how many may still run.
    """

    def __init__(self, operators: float = _OPERATORS) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = operators

    @property
    def spent(self) -> bool:
        """Is nothing left?"""
        return self.left <= 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.spent:
            raise Spent
        output = func(*args, **(kwargs or {}))
        self.left -= 1
        if isinstance(output, torch.Tensor) and not output.is_meta:
            self.left -= output.numel() / _NUMBERS
            if count := flop_registry.get(func.overloadpacket):
                self.left -= count(*args, **(kwargs or {}), out_val=output) / _ARITHMETIC
        return output
