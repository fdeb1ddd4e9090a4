"""Which recorded outputs were overwritten after a layer gave them: in place, or since a module ran again."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch

from ...base.tensor_trees import apply, leaves
from ..network_copies import Network, leaf_indices
from ..trace import LayerRun, trace
from .recorded_activations import Recording, changes_input, is_writer

#: Who owns memory: the layer with this index, or (negative) a tensor of the input, counted from -1.
Owners = frozenset[int]


class FollowedRun:
    """One run of a network, in which memory belongs to whom it belongs to in Torch7: each layer has one output.

    Args:
        network: a copy of the converted network.
        value: an input of the size that Torch7's had.
        recording: what the file holds.

    Attributes:
        order: the layers as their runs end, as far as the input leads.
        calls: how often each layer runs.
        overwritten: the layers whose last output may have been overwritten later.
        inputs: the tensors of the input that may have been overwritten, by their numbers.
    """

    def __init__(self, network: Network, value: Any, recording: Recording) -> None:
        self.order: list[int] = []
        self.calls: dict[int, int] = {}
        self._twin = network.twin()
        self._leaves = leaf_indices(network.layers)
        self._written: dict[int, set[int]] = {}
        self._owners: dict[int, Owners] = {}
        self._lies: dict[int, Owners] = {}
        self._kept: list[torch.Tensor] = []
        taken = self._twin.taken(value)
        for number, (_, tensor) in enumerate(leaves(taken)):
            self._lies[-1 - number] = frozenset({-1 - number})
            self._own(tensor, self._lies[-1 - number])
        self._everybody = frozenset(self._lies) | frozenset(range(len(network.layers)))
        with suppress(Exception):  # made-up inputs may lead anywhere
            trace(self._twin, taken, self._see)
        self._kept.clear()
        written = {layer for layers in self._written.values() for layer in layers}
        self.inputs = {-1 - layer for layer in written if layer < 0}
        # a layer that ran once shows with its output where it worked
        unseen = [i for i in self._written if self.calls[i] > 1 or i not in recording.outputs]
        self.overwritten = {layer for i in unseen for layer in self._written[i] if layer >= 0}
        self.overwritten |= self._shared(recording)

    def _see(self, step: LayerRun) -> Any:
        """Notes where the output of a layer lies; gives a copy of it, since PyTorch may share what Torch7 copies."""
        i, record = step.index, self._twin.layers[step.index]
        self.order.append(i)
        self.calls[i] = step.call
        output, inplace = record.traits.output, changes_input(record)
        for written in self._written.values():
            written.discard(i)  # it gives its output anew
        if step.call > 1 and output in ("own", "copy"):
            self._overwrite(frozenset({i}), i)
        if i not in self._leaves:
            own = frozenset({i}) if output == "own" else None
            for _, tensor in leaves(step.output):
                if own is not None or _address(tensor) not in self._owners:
                    self._own(tensor, self._everybody if own is None else own)
            self._lies[i] = self._of(step.output) if own is None else own
            return None
        operands = isinstance(step.input, list) and record.traits.flow == "operands"
        given = self._of(step.input[:1] if inplace and operands else step.input)
        if inplace:
            self._overwrite(given, i)
        self._lies[i] = given if inplace or output not in ("own", "copy") else frozenset({i})
        copied = apply(step.output, torch.clone)
        for _, tensor in leaves(copied):
            self._own(tensor, self._lies[i])
        return copied

    def _overwrite(self, memory: Owners, writer: int) -> None:
        found = {layer for layer, lies in self._lies.items() if layer != writer and lies & memory}
        self._written.setdefault(writer, set()).update(found)

    def _own(self, tensor: torch.Tensor, owners: Owners) -> None:
        self._kept.append(tensor)  # or another tensor would get its address
        self._owners[_address(tensor)] = owners

    def _of(self, value: Any) -> Owners:
        """Who may own the memory of a value: anybody, where a step that is no layer made it."""
        # a table may hold a hundred thousand tensors of few owners
        found = {self._owners.get(_address(tensor), self._everybody) for _, tensor in leaves(value)}
        return frozenset().union(*found)

    def _shared(self, recording: Recording) -> set[int]:
        """The layers of which the outputs in the file show that a later layer may have written over theirs."""
        found: set[int] = set()
        met: set[int] = set()
        writers: dict[int, list[int]] = {}  # by the id of a storage in which they may have written
        for i in reversed(self.order):  # a layer that ran before may run again
            if i in met:
                continue
            met.add(i)
            storages = {span[0] for span in recording.spans.get(i, ())}
            if any(recording.overwrites(j, i) for storage in storages for j in writers.get(storage, ())):
                found.add(i)
            if i in recording.outputs and is_writer(self._twin.layers[i], leaf=i in self._leaves):
                for storage in storages:
                    writers.setdefault(storage, []).append(i)
        return found


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
