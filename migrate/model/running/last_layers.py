"""The last layers of a network, and what they get: they alone tell the least that rounding does to its output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

#: Of larger inputs of the last layers no copy is kept.
_MOST_KEPT = 1 << 20


@dataclass(frozen=True)
class LastLayers:
    """Layers one behind the other, the last of which gives the output of the network.

    Attributes:
        layers: the last one that adds many products, and those that follow.
        given: what the first of them gets.
        output: what the network gives.
    """

    layers: list[nn.Module]
    given: torch.Tensor
    output: torch.Tensor


def fan_in(part: nn.Module) -> float:
    """How many products a layer adds for a number of its output; 1 if it adds none."""
    weights = [weight for weight in part.parameters(recurse=False) if weight.dim() > 1 and weight.shape[0]]
    return float(max([1, *(weight.numel() // weight.shape[0] for weight in weights)]))


class LastLayersWatch:
    """Follows a value from the last layer that adds many products through the layers behind it.

    Attributes:
        found: the last layers; None where the output is not that of such layers, untouched, or where they are all.
    """

    def __init__(self) -> None:
        self.found: LastLayers | None = None
        self._layers: list[nn.Module] = []
        self._given: tuple[torch.Tensor, int] | None = None
        self._output: torch.Tensor | None = None
        self._input: tuple[torch.Tensor, int] | None = None

    @contextmanager
    def on(self, network: nn.Module) -> Iterator[None]:
        """Watches a network that runs once inside the block."""
        with ExitStack() as hooks:
            for part in network.modules():
                if part is not network and not list(part.children()):
                    hooks.enter_context(part.register_forward_pre_hook(self._before))
                    hooks.enter_context(part.register_forward_hook(self._after))
            hooks.enter_context(network.register_forward_hook(self._end))
            yield

    def _before(self, part: nn.Module, given: tuple[Any, ...]) -> None:
        single = len(given) == 1 and isinstance(given[0], torch.Tensor)
        self._input = (given[0], given[0]._version) if single else None

    def _after(self, part: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        taken, self._input = self._input, None
        if taken is None or not isinstance(output, torch.Tensor):
            self._forget()
        elif fan_in(part) > 1:
            self._layers, self._given, self._output = [part], taken, output
        elif self._output is not None and taken[0] is self._output:
            self._layers.append(part)
            self._output = output
        else:
            self._forget()

    def _end(self, network: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        self.found = None
        if self._given is not None and isinstance(output, torch.Tensor) and output is self._output:
            tensor, version = self._given
            if tensor._version == version and tensor.numel() <= _MOST_KEPT:
                self.found = LastLayers(self._layers, tensor.detach().clone(), output.detach())
        self._forget()

    def _forget(self) -> None:
        self._layers, self._given, self._output = [], None, None
