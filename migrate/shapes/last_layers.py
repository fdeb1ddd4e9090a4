"""The last layers of a network, and what they get: they alone tell the least that rounding does to its output."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import moved
from .dry_run import run


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


def last_layers(module: nn.Module, value: Any) -> LastLayers | None:
    """Runs a network once to see its last layers.

    Args:
        module: it is not changed.
        value: its input, which is not changed.

    Returns:
        None where its output is not that of such layers, untouched.
    """
    shared: dict[int, Any] = {id(weight): weight for weight in module.parameters()}
    twin = copy.deepcopy(module, shared)
    watch = _Watch()
    for part in twin.modules():
        if not list(part.children()):
            part.register_forward_pre_hook(watch.before)
            part.register_forward_hook(watch.after)
    with torch.no_grad():
        output = run(twin, moved(value))
    if watch.given is None or not isinstance(output, torch.Tensor) or output is not watch.output:
        return None
    given, version = watch.given
    return LastLayers(watch.layers, given, output) if given._version == version else None


class _Watch:
    """Follows a value from the last layer that adds many products through the layers behind it."""

    def __init__(self) -> None:
        self.layers: list[nn.Module] = []
        self.given: tuple[torch.Tensor, int] | None = None
        self.output: torch.Tensor | None = None
        self._input: tuple[torch.Tensor, int] | None = None

    def before(self, part: nn.Module, given: tuple[Any, ...]) -> None:
        single = len(given) == 1 and isinstance(given[0], torch.Tensor)
        self._input = (given[0], given[0]._version) if single else None

    def after(self, part: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        taken, self._input = self._input, None
        if taken is None or not isinstance(output, torch.Tensor):
            self.layers, self.given, self.output = [], None, None
        elif fan_in(part) > 1:
            self.layers, self.given, self.output = [part], taken, output
        elif self.output is not None and taken[0] is self.output:
            self.layers.append(part)
            self.output = output
        else:
            self.layers, self.given, self.output = [], None, None
