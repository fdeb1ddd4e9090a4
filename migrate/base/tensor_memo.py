"""Facts about tensors that hold for as long as a tensor lives and nobody writes into it."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Generic, TypeVar

import torch

Fact = TypeVar("Fact")


class TensorMemo(Generic[Fact]):
    """One fact per tensor, which is dropped with the tensor."""

    def __init__(self) -> None:
        self._facts: dict[int, tuple[weakref.ref[torch.Tensor], int, Fact]] = {}

    def get(self, tensor: torch.Tensor) -> Fact | None:
        """The fact about a tensor; None if there is none, or if the tensor was written to since."""
        known = self._facts.get(id(tensor))
        return known[2] if known is not None and known[0]() is tensor and known[1] == tensor._version else None

    def note(self, tensor: torch.Tensor, fact: Fact) -> None:
        """Remembers a fact in place of the one before."""
        key = id(tensor)
        self._facts[key] = weakref.ref(tensor, partial(self._drop, key)), tensor._version, fact

    def _drop(self, key: int, dead: weakref.ref[torch.Tensor]) -> None:
        if key in self._facts and self._facts[key][0] is dead:
            del self._facts[key]
