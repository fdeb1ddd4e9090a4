"""The engine under which a layer is recorded: what is fresh is known as such, and nothing is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...tensors.engine import Engine
from ...tensors.handles import TensorHandle
from ..graph import FRESH
from .recording import Recorder


class RecordingEngine(Engine):
    """Fresh memory is a node of its own, a tensor that grows gets such, and nothing is drawn.

    Args:
        recorder: what records.
        like: the engine in whose place it stands.
    """

    def __init__(self, recorder: Recorder, like: Engine) -> None:
        super().__init__(seed=0, fresh=like.fresh, elements=like.elements)
        self.default_kind = like.default_kind
        self.orders = like.orders
        self._recorder = recorder
        self.random = self.lua_random = _NoRandom(recorder)  # type: ignore[assignment]

    def new(self, size: Sequence[int], kind: str) -> torch.Tensor:
        """Fresh memory of a size."""
        with torch._C.DisableTorchFunction():
            made = super().new(size, kind)
        self._recorder.source(made, FRESH)
        return made

    def resize(self, x: TensorHandle, size: Sequence[int]) -> TensorHandle:
        """Another size: of the same memory where it is not larger, else of fresh memory."""
        size = tuple(size)
        if size == x.size:
            return x
        self.bounded(size)
        count = 1 if size else 0
        for extent in size:
            count *= extent
        if count and count == x.value.numel() and x.value.is_contiguous():
            x.value = x.value.view(size)
        elif 0 < count < x.value.numel() and x.value.is_contiguous():
            x.value = x.value.view(-1).narrow(0, 0, count).view(size)
            # other tensors of this memory are not expected to see what is written to it from now on
            self._recorder.part(x.value)
        else:
            x.value = self.new(size if count else (), x.kind)
        return x


class _NoRandom:
    """Stands for a generator of random numbers; to draw one is refused."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        raise self._recorder.refuse("it draws random numbers")
