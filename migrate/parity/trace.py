"""Runs a network, and shows what each of its converted layers takes and gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import moved
from ..shapes.dry_run import run
from .network_copies import Network


@dataclass(frozen=True)
class LayerRun:
    """One run of one layer.

    Attributes:
        index: number of the layer.
        call: which run of it, 1-based.
        input: what it was given; changed meanwhile if the layer works in place, unless the trace copies inputs.
        output: what it computed.
    """

    index: int
    call: int
    input: Any
    output: Any

    @property
    def key(self) -> tuple[int, int]:
        """Layer and run."""
        return self.index, self.call


#: Is shown a step; may return what takes the place of the layer's output. None: that stays.
Visit = Callable[[LayerRun], Any]


def trace(
    network: Network, value: Any, visit: Visit, *, copy_inputs: bool = False, running: list[int] | None = None
) -> Any:
    """Runs a network without gradients, and calls `visit` after each layer, in the order of execution.

    Args:
        network: the network.
        value: its input, in its type and on its device.
        visit: what to call.
        copy_inputs: keep the input of a layer as it was before the layer ran.
        running: holds at any time the layers that have begun and not ended, the innermost last; it is empty once
            `visit` has raised.

    Returns:
        What the network answers.

    Raises:
        Exception: whatever the network or `visit` raises.
    """
    active = [] if running is None else running
    inputs: list[Any] = []
    calls: Counter[int] = Counter()

    def begin(index: int, module: nn.Module, args: tuple[Any, ...]) -> None:
        given = args[0] if len(args) == 1 else list(args)
        active.append(index)
        inputs.append(moved(given) if copy_inputs else given)

    def end(index: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        active.pop()
        calls[index] += 1
        try:
            return visit(LayerRun(index, calls[index], inputs.pop(), output))
        except BaseException:
            active.clear()  # no layer is to blame
            raise

    present = {id(module) for module in network.module.modules()}
    layers = [(i, record.module) for i, record in enumerate(network.layers) if id(record.module) in present]
    handles = [module.register_forward_pre_hook(partial(begin, i)) for i, module in layers]
    # where one module stands for a layer and the one in it, the inner layer ends first
    handles += [module.register_forward_hook(partial(end, i)) for i, module in reversed(layers)]
    try:
        with torch.no_grad():
            return run(network.module, value)
    finally:
        for handle in handles:
            handle.remove()
