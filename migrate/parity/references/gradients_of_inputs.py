"""The gradients of inputs that Torch7's backward pass left in a file, and those of outputs that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from ...model.build import to_torch_tensor
from ...t7 import LuaTable, Tensor, Value
from ..network_copies import Network, leaf_indices
from .recorded_activations import MOST_NUMBERS

#: Place of a tensor in a nested value.
Place = tuple[int, ...]

#: A gradient, with the layer and the place of its input that it is the gradient of.
Given = tuple[tuple[int, Place], torch.Tensor]

#: Deeper nesting than any input has; it bounds the recursion.
_MAX_DEPTH = 16

#: Layers through which several ways lead, that may be gone back in any order.
_BRANCHING = ("branches", "joined", "slices", "entries", "graph")

#: Layers that put what their children gave one behind another.
_JOINING = ("joined", "slices")


@dataclass(frozen=True)
class Gradients:
    """The gradients of inputs in a file, by layer and place in a nested input.

    Attributes:
        found: the gradients.
        intact: those that nothing wrote over.
        users: the layers without layers inside that have a gradient in the same memory.
    """

    found: Mapping[tuple[int, Place], torch.Tensor]
    intact: frozenset[tuple[int, Place]]
    users: Mapping[tuple[int, Place], frozenset[int]]

    def only(self, key: tuple[int, Place], *others: int) -> bool:
        """Has no other layer than these written a gradient there?"""
        return key in self.intact or self.users.get(key, frozenset({-1})) <= {key[0], *others}


def recorded_gradients(network: Network) -> Gradients:
    """The gradients of inputs in the file of a network."""
    held: dict[tuple[int, Place], Tensor] = {}
    for i, record in enumerate(network.layers):
        for place, tensor in _tensors(record.object.get("gradInput")):
            if 0 < tensor.numel() <= MOST_NUMBERS and tensor.storage is not None and tensor.dtype.kind == "f":
                held[i, place] = tensor
    inner = leaf_indices(network.layers)
    users: dict[int, list[tuple[int, Place]]] = {}
    for key, tensor in held.items():
        traits = network.layers[key[0]].traits
        # one that gives its input in another size hands its gradient back so, and writes nothing
        if key[0] in inner and not (traits.output == "pass" and traits.keeps_numbers):
            users.setdefault(id(tensor.storage), []).append(key)
    # a chain goes back through its layers one by one: what the first of them left there is the last that was written
    chain = not any(record.traits.flow in _BRANCHING for record in network.layers)
    intact = [sharing[0] for sharing in users.values() if chain or len(sharing) == 1]
    found = {key: to_torch_tensor(tensor) for key, tensor in held.items()}
    sharing = {key: frozenset(i for i, _ in users.get(id(tensor.storage), [])) for key, tensor in held.items()}
    return Gradients(found, frozenset(intact), sharing)


def _tensors(value: Value, place: Place = ()) -> Iterator[tuple[Place, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, LuaTable) and value.is_list and len(place) < _MAX_DEPTH:
        for i, item in enumerate(value.list(), 1):
            yield from _tensors(item, (*place, i))


@dataclass(frozen=True)
class _Part:
    """A tensor that is a part of another one.

    Attributes:
        whole: identity of that.
        shape: its sizes.
        dim: the dimension in which the parts stand one behind another.
        start: where this one begins.
        length: its size there.
    """

    whole: int
    shape: torch.Size
    dim: int
    start: int
    length: int


class Joins:
    """Outputs of layers that a layer around them puts one behind another, so that its gradient holds theirs.

    Args:
        network: the network that runs.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._given: dict[int, torch.Tensor] = {}
        self._parts: dict[int, _Part] = {}

    def note(self, index: int, output: object) -> None:
        """Hears what a layer gave, after all those in it."""
        record = self._network.layers[index]
        if not isinstance(output, torch.Tensor):
            return
        self._given[index] = output
        if record.traits.flow not in _JOINING:
            return
        children = [
            self._given[i]
            for i, child in enumerate(self._network.layers)
            if i in self._given and i != index and child.path.rpartition(".")[0] == record.path
        ]
        dim = _joined_in(output, children)
        start = 0
        for child in children if dim is not None else []:
            assert dim is not None
            self._parts[id(child)] = _Part(id(output), output.shape, dim, start, child.shape[dim])
            start += child.shape[dim]

    def gradient(self, output: int, of: Callable[[int], Given | None]) -> Given | None:
        """The gradient of an output, and who handed it back; None if it is not known.

        Args:
            output: its identity.
            of: the same of what a layer reads, by its identity.
        """
        known = of(output)
        part = self._parts.get(output)
        if known is not None or part is None:
            return known
        whole = self.gradient(part.whole, of)
        if whole is None or whole[1].numel() != part.shape.numel():
            return None
        return whole[0], whole[1].reshape(part.shape).narrow(part.dim, part.start, part.length)


def _joined_in(whole: torch.Tensor, parts: Sequence[torch.Tensor]) -> int | None:
    """The dimension in which these tensors stand one behind another in that one; None if they do not."""
    if not parts or any(part.dim() != whole.dim() for part in parts):
        return None
    for dim in range(whole.dim()):
        if sum(part.shape[dim] for part in parts) == whole.shape[dim]:
            rest = [tuple(part.shape[:dim]) + tuple(part.shape[dim + 1 :]) for part in parts]
            if {*rest} == {tuple(whole.shape[:dim]) + tuple(whole.shape[dim + 1 :])}:
                return dim if torch.equal(torch.cat(list(parts), dim), whole) else None
    return None
