"""Weights that what a layer gave tells nothing about, since all that it got is 0."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from ...base.random_state import random_state_of_our_own
from ...base.tensor_trees import leaves, moved, shapes
from ...model.recurrent_state import forget

#: Said of such a layer, although it was compared.
NO_PART = "what it got is 0 everywhere, so that not all its weights have a part in what it gave"


class UnseenWeights:
    """Tells of the layers of one network whether weights of theirs are unseen; of each size of its input once."""

    def __init__(self) -> None:
        self._known: dict[tuple[nn.Module, str], bool] = {}

    def has(self, module: nn.Module, given: Any) -> bool:
        """Are there parameters that may have any value without changing what a layer gives, since it got 0 only?

        Args:
            module: the layer; it is left as it is.
            given: what it got.
        """
        tensors = [tensor for _, tensor in leaves(given) if tensor.numel()]
        held = dict(module.named_parameters())
        if not held or not tensors or any(bool(tensor.any()) for tensor in tensors):
            return False
        key = module, shapes(given)
        if key not in self._known:
            self._known[key] = _changes_nothing(module, held, given)
        return self._known[key]


def _changes_nothing(module: nn.Module, held: dict[str, nn.Parameter], given: Any) -> bool:
    with suppress(Exception):  # a plugin's module may raise anything
        as_it_is = _given_by(module, {}, given)
        return any(_same(as_it_is, _given_by(module, {name: p.detach() + 1}, given)) for name, p in held.items())
    return False


def _given_by(module: nn.Module, changed: dict[str, torch.Tensor], given: Any) -> list[torch.Tensor]:
    with torch.no_grad(), random_state_of_our_own(0):
        forget(module)
        return [tensor for _, tensor in leaves(functional_call(module, changed, (moved(given),)))]


def _same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))
