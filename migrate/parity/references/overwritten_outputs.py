"""Which recorded outputs were overwritten by runs that the file does not tell of: in place, or of a module run again."""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import suppress
from typing import Any

import torch

from ...base.tensor_trees import apply, leaves
from ..network_copies import Network, leaf_indices
from ..trace import LayerRun, trace
from .recorded_activations import changes_input

#: The memory that the caller owns; the others have the index of the layer that owns them.
_INPUT = -1


def overwritten_outputs(
    network: Network, value: Any, recorded: Container[int], calls: Mapping[int, int]
) -> frozenset[int]:
    """The layers whose last output may have been overwritten by a run that no recorded output shows.

    A layer that works in place and ran several times shows with its output only where it worked last. A module that
    runs again overwrites what it gave, whoever else, a container say, gave that too.

    Args:
        network: a copy of the converted network.
        value: an input of the size that Torch7's had.
        recorded: the layers with an output in the file.
        calls: how often each layer runs.
    """
    unseen = {i for i, record in enumerate(network.layers) if changes_input(record)}
    unseen = {i for i in unseen if calls.get(i, 0) > 1 or (i in calls and i not in recorded)}
    if not unseen and max(calls.values(), default=0) < 2:
        return frozenset()
    run = _Run(network.twin(), unseen)
    with suppress(Exception):  # made-up inputs may lead anywhere
        run.follow(value)
    return frozenset(run.overwritten)


class _Run:
    """Follows which layer owns the memory of each value, as in Torch7: a layer has one output, whenever it runs."""

    def __init__(self, twin: Network, unseen: set[int]) -> None:
        self.twin, self.unseen = twin, unseen
        self.overwritten: set[int] = set()
        self._leaves = leaf_indices(twin.layers)
        self._everything = frozenset(range(_INPUT, len(twin.layers)))
        self._owners: dict[int, frozenset[int]] = {}
        self._lies: dict[int, frozenset[int]] = {}
        self._kept: list[Any] = []

    def follow(self, value: Any) -> None:
        taken = self.twin.taken(value)
        self._own(taken, frozenset({_INPUT}))
        trace(self.twin, taken, self.see)

    def see(self, step: LayerRun) -> Any:
        """Notes where the output of a layer lies; returns a copy of it, so that memory that PyTorch shares differs."""
        i, record = step.index, self.twin.layers[step.index]
        output, inplace = record.traits.output, changes_input(record)
        if step.call > 1 and output in ("own", "copy"):
            self._overwrite(frozenset({i}), i)
        if i not in self._leaves:
            self._lies[i] = frozenset({i}) if output == "own" else self._of(step.output)
            if output == "own":
                self._own(step.output, self._lies[i])
            return None
        operands = isinstance(step.input, list) and record.traits.flow == "operands"
        given = self._of(step.input[:1] if inplace and operands else step.input)
        if inplace and i in self.unseen:
            self._overwrite(given, i)
        self._lies[i] = given if inplace or output not in ("own", "copy") else frozenset({i})
        copied = apply(step.output, torch.clone)
        self._own(copied, self._lies[i])
        return copied

    def _overwrite(self, memory: frozenset[int], writer: int) -> None:
        self.overwritten |= {layer for layer, lies in self._lies.items() if layer != writer and lies & memory}

    def _own(self, value: Any, owners: frozenset[int]) -> None:
        self._kept.append(value)  # or another tensor would get its address
        self._owners.update((_address(tensor), owners) for _, tensor in leaves(value))

    def _of(self, value: Any) -> frozenset[int]:
        """Who may own the memory of a value: anybody, where a step that is no layer made it."""
        found: frozenset[int] = frozenset()
        for _, tensor in leaves(value):
            found |= self._owners.get(_address(tensor), self._everything)
        return found


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
