"""Rounding noise beside that of a layer itself: of layers in the same memory, of a step that was worked out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from ...base.tensor_trees import apply, leaves, moved
from ...model.recurrent_state import forget
from ..judge.compare import Noise, Tolerance


def noise_with(own: Noise, beneath: Sequence[Noise]) -> Iterator[Any]:
    """The noise of a layer, with that of layers that computed what it changed; in steps, as `compare` takes it.

    Args:
        own: gives that of the layer itself.
        beneath: those of the layers whose outputs lay in the same memory.
    """
    last = None
    for last in own():
        yield last
    if last is not None and beneath:  # which few ask for: that of the layer itself mostly allows enough
        others = [tensor for noise in beneath for tensor in _last(noise)]
        yield apply(last, partial(_added, others))


def _last(noise: Noise) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for step in noise():
        if step is not None:
            found = [tensor for _, tensor in leaves(step)]
    return found


def _added(noises: Sequence[torch.Tensor], tensor: torch.Tensor) -> torch.Tensor:
    return sum((noise for noise in noises if noise.shape == tensor.shape), tensor)


def noise_of_step(now: nn.Module, given: Any, output: Any, tolerance: Tolerance) -> list[Any]:
    """The noise of a layer with other weights than its own, which are not known better than the step between them.

    Gradients are sums that were rounded: what they change of an output is known up to a tolerance of the largest
    change.

    Args:
        now: the layer with its own weights.
        given: what it gets.
        output: what it answers with the others.
        tolerance: of the layer.
    """
    forget(now)
    with torch.no_grad():
        there = dict(leaves(now.forward(moved(given))))
    rest = iter([(tensor, there.get(place)) for place, tensor in leaves(output)])

    def known(tensor: torch.Tensor) -> torch.Tensor:
        mine, other = next(rest)
        same = other is not None and other.shape == mine.shape and mine.numel() > 0
        apart = float((mine.double() - other.double()).abs().max()) if same and other is not None else 0.0
        return torch.full(tensor.shape, apart * tolerance.atol / tolerance.rounding, dtype=torch.float64)

    return [apply(output, known)]
