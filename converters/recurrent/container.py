"""The container of recurrent modules of eladhoffer/recurrent.torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.recurrent_state import Remembering
from ...model.registry import converts
from ...model.traits import Traits
from ...t7 import LuaTable, Tensor, Value


class RecurrentContainer(Remembering):
    """Runs a module on [x, state] at each step, which gives [y, next state]; the next call goes on with the state.

    Args:
        module: the step.
        sizes: of each state tensor, without the batch, nested as the states are.
        time_dim: of sequences, 0-based; None: a call is one step.
        stateful: does it go on with the state of the last call? Else each call begins with zeros.
    """

    def __init__(self, module: nn.Module, sizes: list[Any], time_dim: int | None = None, stateful: bool = True) -> None:
        super().__init__()
        self.module = module
        self.sizes = sizes
        self.time_dim = time_dim
        self.stateful = stateful

    def forward(self, x: Any) -> Any:
        steps = [x] if self.time_dim is None else x if isinstance(x, list) else list(x.unbind(self.time_dim))
        kept = self.state if self.stateful else None
        state = begin(self.sizes, kept, steps[0])
        outputs = []
        for step in steps:
            output, state = self.module([step, state])
            outputs.append(output)
        self.state = state
        if self.time_dim is None:
            return outputs[0]
        return outputs if isinstance(x, list) else torch.stack(outputs, self.time_dim)

    def extra_repr(self) -> str:
        return f"sizes={self.sizes}, time_dim={self.time_dim}, stateful={self.stateful}"


def begin(sizes: list[Any], kept: Any, x: torch.Tensor) -> Any:
    """The state for a batch like x: that which was kept, of which a smaller batch takes the first rows, or zeros."""
    if sizes and isinstance(sizes[0], list):
        entries = [None] * len(sizes) if kept is None else kept
        return [begin(size, entry, x) for size, entry in zip(sizes, entries, strict=True)]
    if kept is None or kept.shape[0] < x.shape[0]:
        return x.new_zeros(x.shape[0], *sizes)
    return kept[: x.shape[0]]


def sizes_of(layer: Layer, state: Value) -> list[Any]:
    """The sizes of state tensors without their batch, nested as they are."""
    if isinstance(state, LuaTable) and state.is_list and len(state.list()):
        return [sizes_of(layer, entry) for entry in state.list()]
    if not isinstance(state, Tensor) or len(state.size) < 2:
        layer.refuse("its state was never set (setState)")
    if state.numpy().any():
        layer.note("the file holds the state that the last sequence ended with; here the first call begins with zeros")
    return list(state.size[1:])


@converts("nn.RecurrentContainer", traits=Traits(recurrent=True, picture="recurrent", reuses="nothing"))
def recurrent_container(layer: Layer) -> RecurrentContainer:
    """nn.RecurrentContainer(recurrentModule), of eladhoffer/recurrent.torch

    A call is one time step, or with sequence() all steps of (N, T, …). The next call goes on with the state unless
    isStateful(false) was called; `forget(module)` starts a new sequence.
    """
    layer.ignore("gradState", "initState", "currentIteration", "batchSize", "splitInput", "joinOutput")
    modules = layer.value("modules", LuaTable())
    if not isinstance(modules, LuaTable) or not modules.list():
        layer.refuse("it holds no module")
    module = layer.convert(modules.list()[0], "1")
    time_dim = layer.integer("timeDimension", 2) - 1 if layer.flag("seqMode", default=False) else None
    layer.ignore("timeDimension")
    sizes = sizes_of(layer, layer.value("state"))
    return RecurrentContainer(module, sizes, time_dim, layer.flag("stateful", default=True))
