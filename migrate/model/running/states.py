"""A network whose recurrent states are given to it, and given back, rather than remembered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ...base.errors import UsageError
from ...base.tensor_trees import leaves, moved
from ..recurrent_state import Remembering, forget
from ..registry import form_of

#: The form of a class that remembers: what it is called in names, and its states in their order.
STATE_NAMES = "state names"


@dataclass(frozen=True)
class KeptState:
    """What one layer keeps from call to call.

    Attributes:
        module: its name in the network.
        state: as the layer keeps it after a call: a tensor, or nested lists of tensors.
        names: one for each tensor in it, such as `lstm1_h`.
        from_zeros: is the first call the same as one that goes on from zeros?
    """

    module: str
    state: Any
    names: tuple[str, ...]
    from_zeros: bool = True


class StatefulNetwork(nn.Module):
    """Runs a network from given states.

    Its `forward` takes [what the network takes, [states …]] and returns [what the network gives, [states …]]. Where a
    layer begins in another way than from zeros, a third entry says whether the call is the first: a tensor of one
    number, 0 or 1. At the first the given states are not read.

    Args:
        network: the converted module.
        kept: what it keeps; the order is that of the states.
    """

    def __init__(self, network: nn.Module, kept: Sequence[KeptState]) -> None:
        super().__init__()
        self.network = network
        self.kept = tuple(kept)

    @property
    def asks_for_first(self) -> bool:
        """Must each call say whether it is the first?"""
        return not all(part.from_zeros for part in self.kept)

    def forward(self, given: Any) -> list[Any]:
        """One call."""
        x, states, *first = given
        output, after = self._call(x, states)
        if first:
            begun, begun_after = self._call(x, states, first=True)
            is_first = first[0] != 0
            output, after = (_choose(is_first, a, b) for a, b in ((begun, output), (begun_after, after)))
        return [output, after]

    def _call(self, x: Any, states: Sequence[torch.Tensor], *, first: bool = False) -> tuple[Any, list[torch.Tensor]]:
        remembering = [part for part in self.network.modules() if isinstance(part, Remembering)]
        before = [part.state for part in remembering]
        forget(self.network)
        tensors = iter(states)
        parts: list[Any] = [self.network.get_submodule(one.module) for one in self.kept]
        try:
            for part, one in zip(parts, self.kept, strict=True):
                state = _filled(one.state, tensors, zeros=first)
                part.state = None if first and not one.from_zeros else state
            output = self.network(x)
            return output, [tensor for part in parts for _, tensor in leaves(part.state)]
        finally:
            for part, state in zip(remembering, before, strict=True):
                part.state = state


def _filled(template: Any, tensors: Iterator[torch.Tensor], *, zeros: bool) -> Any:
    """The same nesting with other tensors."""
    if isinstance(template, torch.Tensor):
        tensor = next(tensors)
        return torch.zeros_like(tensor) if zeros else tensor
    return type(template)(_filled(item, tensors, zeros=zeros) for item in template)


def _choose(which: torch.Tensor, a: Any, b: Any) -> Any:
    """Each tensor of `a` or of `b`."""
    if isinstance(a, torch.Tensor):
        return torch.where(which.reshape([1] * a.dim()), a, b)
    return [_choose(which, *pair) for pair in zip(a, b, strict=True)]


def find_states(network: nn.Module, value: Any) -> list[KeptState]:
    """What a network keeps from one call to the next, in the order in which its layers run.

    Args:
        network: in evaluation mode; it has forgotten everything afterwards.
        value: an input on which it runs.

    Raises:
        UsageError: a state has another size after a second call.
    """
    order: dict[str, None] = {}
    with ExitStack() as hooks, torch.no_grad():
        for name, part in network.named_modules():
            if isinstance(part, Remembering):
                hooks.enter_context(part.register_forward_hook(partial(_note, order, name)))
        output, states = _first_call(network, value, order)
        found = [
            KeptState(name, states[name], names)
            for name, names in _names({name: states[name] for name in order}, network).items()
        ]
        again = _call_from(network, value, {one.module: one.state for one in found})
    for one in found:
        sizes = [[tuple(tensor.shape) for _, tensor in leaves(state)] for state in (one.state, again[1][one.module])]
        if sizes[0] != sizes[1]:
            raise UsageError(
                f"The state of {one.module} has the sizes {sizes[0]} after one call, {sizes[1]} after two."
            )
    with torch.no_grad():
        return [
            KeptState(
                one.module, one.state, one.names, _same((output, states), _from_zeros(network, value, one), found)
            )
            for one in found
        ]


def _note(order: dict[str, None], name: str, part: nn.Module, given: Any, output: Any) -> None:
    order.setdefault(name)


def _first_call(network: nn.Module, value: Any, order: dict[str, None]) -> tuple[Any, dict[str, Any]]:
    output, states = _call_from(network, value, {})
    for name in [name for name in order if name not in states]:
        del order[name]
    return output, states


def _from_zeros(network: nn.Module, value: Any, one: KeptState) -> tuple[Any, dict[str, Any]]:
    zeros = _filled(one.state, iter([tensor for _, tensor in leaves(one.state)]), zeros=True)
    return _call_from(network, value, {one.module: zeros})


def _call_from(network: nn.Module, value: Any, states: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What a network answers when some of its layers go on from states, and all states afterwards."""
    forget(network)
    for name, state in states.items():
        part: Any = network.get_submodule(name)
        part.state = state
    output = moved(network(moved(value)))
    parts = [(name, part) for name, part in network.named_modules() if isinstance(part, Remembering)]
    after = {name: _filled(part.state, iter(_copies(part.state)), zeros=False) for name, part in parts if _has(part)}
    forget(network)
    return output, after


def _has(part: Remembering) -> bool:
    return part.state is not None


def _copies(state: Any) -> list[torch.Tensor]:
    return [tensor.detach().clone() for _, tensor in leaves(state)]


def _same(a: tuple[Any, dict[str, Any]], b: tuple[Any, dict[str, Any]], found: Sequence[KeptState]) -> bool:
    """Are answers and states the same, to the last bit?"""
    ours, theirs = ([answer, *(states[one.module] for one in found)] for answer, states in (a, b))
    pairs = zip(leaves(ours), leaves(theirs), strict=True)
    return all(torch.equal(one, other) for (_, one), (_, other) in pairs)


def _names(states: dict[str, Any], network: nn.Module) -> dict[str, tuple[str, ...]]:
    """Names for the states of each layer, by the name of its module: `lstm1_h`, `lstm1_c`, `gru1_h`."""
    counts: dict[str, int] = {}
    found = {}
    for name, state in states.items():
        kind, parts = form_of(STATE_NAMES, network.get_submodule(name)) or ("state", ())
        counts[kind] = counts.get(kind, 0) + 1
        tensors = [place for place, _ in leaves(state)]
        parts = parts[: len(tensors)]  # a GRU of a class that may be an LSTM has the first only
        if len(parts) < len(tensors):
            parts = tuple("_".join(map(str, place)) for place in tensors)
        found[name] = tuple("_".join(filter(None, [f"{kind}{counts[kind]}", part])) for part in parts)
    return found
