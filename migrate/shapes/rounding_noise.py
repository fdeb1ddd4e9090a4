"""How far rounding inside a network moves each number of its output: the scale of the sums behind it.

A number that is the rest of a sum of large ones, or stands where a function is steep, is off by more than its own
rounding. How much follows from the network alone: every input of a layer is changed by one rounding up or down, and the
change of the output is seen.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from ..base.random_state import random_state_of_our_own
from ..base.tensor_trees import apply, leaves, moved
from ..model.recurrent_state import forget

#: A relative change in float64: far above its rounding, and below that of float32, so that no choice tips over that
#: float32 would not tip over.
_STEP = 2.0**-30

#: No number is taken to move by more than this, in roundings of the largest number (or product) in the network.
_MOST = 32

#: How often the network is changed: a single change may cancel by chance.
_TRIALS = 3

#: Larger weights stay as they are: what they are multiplied with is changed.
_MOST_WEIGHTS = 1 << 20


def rounding_noise(module: nn.Module, value: Any, trials: int = _TRIALS) -> Any:
    """The change of each number of the output, relative to the size of one rounding.

    A layer that adds n numbers rounds about sqrt(n) times as much as one that adds none.

    Args:
        module: it is not changed, but for what it remembers.
        value: its input, which is not changed.
        trials: how often it is run besides the first time.

    Returns:
        Nested as the output is, tensors in float64; None where the module does not run so.
    """
    found: list[torch.Tensor] = []
    try:
        noisy = _Noisy(module)
        value = moved(value, torch.float64)
        with torch.no_grad(), random_state_of_our_own():
            base = noisy.run(value, None)
            for seed in range(trials):
                changed = noisy.run(value, torch.Generator().manual_seed(seed))
                apart = [_apart(a, b) for (_, a), (_, b) in zip(leaves(changed), leaves(base), strict=True)]
                found = [torch.maximum(a, b) for a, b in zip(found, apart, strict=True)] if found else apart
    except Exception:  # changed numbers may lead anywhere
        return None
    rest = iter(found)

    def take(tensor: torch.Tensor) -> torch.Tensor:
        return next(rest).clamp(max=_MOST * noisy.largest)

    return apply(base, take) if all(isinstance(item, torch.Tensor) for item in _flat(base)) else None


def _flat(value: Any) -> list[Any]:
    return [item for each in value for item in _flat(each)] if isinstance(value, (list, tuple)) else [value]


def _apart(changed: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    return (changed.double() - base.double()).abs().cpu() / _STEP


class _Noisy:
    """A copy of a module that changes what its layers get."""

    def __init__(self, module: nn.Module) -> None:
        self.largest = 0.0
        self.generator: torch.Generator | None = None
        self.terms: dict[int, float] = {}
        memo: dict[int, Any] = {}
        for weight in module.parameters():  # cast as they are copied
            memo[id(weight)] = nn.Parameter(moved(weight, torch.float64), requires_grad=False)
        self.module = copy.deepcopy(module, memo).to(device="cpu", dtype=torch.float64)
        self.weights = [
            (tensor, tensor.detach().clone())
            for tensor in [*self.module.parameters(), *self.module.buffers()]
            if tensor.is_floating_point() and tensor.numel() <= _MOST_WEIGHTS
        ]
        for part in self.module.modules():
            if not list(part.children()) or list(part.parameters(recurse=False)):
                part.register_forward_pre_hook(self.before)
                part.register_forward_hook(self.after)

    def run(self, value: Any, generator: torch.Generator | None) -> Any:
        """What it answers; without a generator nothing is changed."""
        self.generator = generator
        for tensor, kept in self.weights:
            terms = kept.numel() / kept.shape[0] if kept.dim() > 1 and kept.shape[0] else 1.0
            tensor.data.copy_(kept if generator is None else self.changed(kept, terms))
        forget(self.module)
        torch.manual_seed(0)
        return self.module(apply(value, torch.clone))

    def changed(self, tensor: torch.Tensor, terms: float) -> torch.Tensor:
        """The same numbers, each up or down by as much as a sum of so many terms is rounded."""
        signs = torch.empty(tensor.shape, dtype=tensor.dtype).bernoulli_(0.5, generator=self.generator)
        signs = signs.mul_(2.0).sub_(1.0)
        return tensor + tensor * signs.mul_(_STEP * math.sqrt(terms))

    def before(self, part: nn.Module, given: tuple[Any, ...]) -> Any:
        terms = max(_fan_in(part), self.terms.get(id(part), 1.0))

        if self.generator is None:
            weight = max([1.0, *(_size(weight) for weight in part.parameters(recurse=False))])
            self.largest = max([self.largest, *(weight * _size(tensor) for _, tensor in leaves(given))])

        def change(tensor: torch.Tensor) -> torch.Tensor:
            if self.generator is None or not tensor.is_floating_point() or _whole(tensor):
                return tensor.clone()
            return self.changed(tensor, terms)

        return tuple(apply(item, change) for item in given)

    def after(self, part: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
        ours, theirs = ([tensor for _, tensor in leaves(item)] for item in (output, given))
        numbers = sum(tensor.numel() for tensor in theirs), sum(tensor.numel() for tensor in ours)
        if self.generator is None:
            self.largest = max([self.largest, *map(_size, ours)])
            self.terms[id(part)] = max(numbers[0] / max(numbers[1], 1), 1.0)
            return None
        if len(ours) != 1 or len(theirs) != 1 or ours[0].shape != theirs[0].shape or _fan_in(part) > 1:
            return None
        if not (isinstance(output, torch.Tensor) and output.is_floating_point() and theirs[0].is_floating_point()):
            return None
        # within a function of each number, such as a log-softmax, numbers of the size of the input are rounded
        change = self.changed(theirs[0], 1.0) - theirs[0]
        return output + change.to(output.dtype)


def _fan_in(part: nn.Module) -> float:
    weights = [weight for weight in part.parameters(recurse=False) if weight.dim() > 1 and weight.shape[0]]
    return float(max([1, *(weight.numel() // weight.shape[0] for weight in weights)]))


def _size(tensor: torch.Tensor) -> float:
    """Its largest number."""
    return float(tensor.detach().abs().max()) if tensor.is_floating_point() and tensor.numel() else 0.0


def _whole(tensor: torch.Tensor) -> bool:
    """Are all numbers whole, as indices are, which must not be changed?"""
    return bool((tensor == tensor.round()).all())
