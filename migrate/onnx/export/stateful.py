"""Exports with recurrent states as inputs and outputs: their names and free axes, and runs one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ...base.errors import UsageError
from ...base.tensor_trees import apply, leaves, moved
from ...model.conversion import ConvertedModel
from ...model.recurrent_state import forget
from ...model.running.states import KeptState, StatefulNetwork, find_states
from ..layer_watch import Dynamic, LayerNames
from ..result import FIRST
from .axes import name_axes, require_running, resized, sizes_of
from .check import Checker, Noise

#: So many runs are compared, each of which goes on from the one before.
_RUNS = 3


@dataclass(frozen=True)
class Stateful:
    """A model whose states are inputs and outputs.

    Attributes:
        conv: the same model, whose module is a `StatefulNetwork`.
        reference: that of the module that is exported.
        given: the input [x, [states], …].
        named: its axes that have a name.
        kept: the states.
        layers: the Torch7 path of the layer of each.
    """

    conv: ConvertedModel
    reference: StatefulNetwork
    given: Any
    named: Dynamic
    kept: tuple[KeptState, ...]
    layers: tuple[str, ...]

    def names(self, end: str) -> list[str]:
        """The names of the states with an ending, and of what tells the first run."""
        names = [f"{name}_{end}" for one in self.kept for name in one.names]
        return [*names, FIRST] if self.reference.asks_for_first and end == "in" else names

    def described(self) -> list[dict[str, str]]:
        """For each state its input, its output, and the Torch7 path of its layer."""
        return [
            {"input": f"{name}_in", "output": f"{name}_out", "layer": path}
            for one, path in zip(self.kept, self.layers, strict=True)
            for name in one.names
        ]

    def note(self) -> str:
        """What users should know."""
        pairs = ", ".join(f"{one['input']} -> {one['output']}" for one in self.described())
        begin, later = "zeros", ""
        if self.reference.asks_for_first:
            begin, later = f"{FIRST} 1, for which no state is read,", f"{FIRST} 0 and "
        return f"states: {pairs}; give {begin} in the first run, and in each later run {later}what the run before gave"


def make_stateful(conv: ConvertedModel, reference: nn.Module, given: Any) -> Stateful:
    """Turns what a model remembers into inputs and outputs.

    Args:
        conv: the converted model.
        reference: its module, ready to run on `given`.
        given: an input, as the graph takes it.

    Raises:
        UsageError: it remembers nothing, or does not run.
    """
    layers = LayerNames(conv)
    forget(reference)
    require_running(reference, given, layers)
    forget(reference)
    named = name_axes(conv, reference, given)
    kept = find_states(reference, given)
    if not kept:
        raise UsageError(
            "The model keeps no state from one call to the next, so --stateful (stateful=True) adds nothing; leave it "
            "out. States that it takes and gives in a table are inputs and outputs without it."
        )
    wrapped = StatefulNetwork(reference, kept)
    states = [tensor for one in kept for _, tensor in leaves(one.state)]
    first = [torch.zeros(1, dtype=torch.int64)] if wrapped.asks_for_first else []
    return Stateful(
        conv=replace(conv, module=StatefulNetwork(conv.module, kept)),
        reference=wrapped,
        given=[given, states, *first],
        named=named | _axes_of_states(reference, given, named, kept),
        kept=tuple(kept),
        layers=tuple(layers.paths.get(one.module, "") for one in kept),
    )


def _axes_of_states(network: nn.Module, given: Any, named: Dynamic, kept: Sequence[KeptState]) -> Dynamic:
    """The axes of the states that are as long as a named one of the input, whatever that is."""
    count = sum(1 for _ in leaves(given))
    before = [tuple(tensor.shape) for one in kept for _, tensor in leaves(one.state)]
    found: Dynamic = {}
    for axis in dict.fromkeys(named.values()):
        sizes = sizes_of(given, named, axis)
        if len(sizes) != 1:
            continue
        size = sizes.pop()
        for other in (2 * size, size + 1):
            after = _sizes_of_states(network, resized(given, named, {axis: other}), kept)
            if [len(shape) for shape in after] == [len(shape) for shape in before]:
                found |= {
                    (count + number, dim): axis
                    for number, pair in enumerate(zip(before, after, strict=True))
                    for dim, lengths in enumerate(zip(*pair, strict=True))
                    if lengths == (size, other)
                }
                break
    return found


def _sizes_of_states(network: nn.Module, given: Any, kept: Sequence[KeptState]) -> list[tuple[int, ...]]:
    """The sizes of the states after a call; none where the network does not take the input."""
    forget(network)
    try:
        with torch.no_grad():
            network(moved(given))
        parts: list[Any] = [network.get_submodule(one.module) for one in kept]
        return [tuple(tensor.shape) for part in parts for _, tensor in leaves(part.state)]
    except Exception:  # whatever a layer says of sizes that it does not take
        return []
    finally:
        forget(network)


def compare_runs(
    checker: Checker, stateful: Stateful, value: Any, dtype: torch.dtype | None, noise_of: Callable[[list[Any]], Noise]
) -> float:
    """Runs the graph several times, each from the states before, beside the network that remembers by itself.

    Args:
        checker: runs the graph.
        stateful: the model.
        value: an input with states.
        dtype: of the numbers in the file; None: as they are.
        noise_of: the rounding noise of the wrapped network on tensors.

    Returns:
        The largest relative difference.

    Raises:
        GraphDiffers: they differ.
    """
    network = stateful.reference.network
    x, states, *first = value
    states, worst = [torch.zeros_like(state) for state in states], 0.0
    forget(network)
    try:
        for number in range(_RUNS):
            given = x if number == 0 else apply(x, _turned if number % 2 else torch.clone)
            with torch.no_grad():
                answer = [moved(network(moved(given))), _remembered(network, stateful.kept)]
            begins = [torch.full_like(one, int(number == 0)) for one in first]
            inputs = [tensor for _, tensor in leaves([given, states, *begins])]
            expected = [tensor for _, tensor in leaves(answer)]
            got = checker.answer(moved(inputs, dtype))
            worst = max(worst, checker.judge(got, expected, noise_of(inputs)))
            states = got[len(got) - len(states) :]
    finally:
        forget(network)
    return worst


def _turned(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers in another order: another input that a lookup layer takes as well."""
    return tensor.flip(tuple(range(tensor.dim())))


def _remembered(network: nn.Module, kept: Sequence[KeptState]) -> list[torch.Tensor]:
    parts: list[Any] = [network.get_submodule(one.module) for one in kept]
    return [tensor.detach().clone() for part in parts for _, tensor in leaves(part.state)]
