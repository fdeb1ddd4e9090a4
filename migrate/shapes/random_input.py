"""Random inputs of given sizes: normal numbers, or indices where a lookup table reads them."""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..base.tensor_trees import apply, leaves
from ..model.conversion import ConvertedModel
from ..model.layer_record import LayerRecord
from ..t7 import Tensor
from .dry_run import run
from .search_budget import Budget

#: Operators whose output holds numbers of their inputs unchanged, in a storage of its own.
_COPYING = frozenset(
    {
        *("clone", "copy", "copy_", "_to_copy", "cat", "stack", "repeat", "flip", "roll", "where", "masked_fill"),
        *("index", "index_select", "gather", "take", "constant_pad_nd", "select_scatter", "slice_scatter"),
        *("reflection_pad1d", "replication_pad1d", "masked_select", "index_put_", "_unsafe_view"),
    }
)


def make_input(conv: ConvertedModel, sizes: Any, seed: int = 0) -> Any:
    """Random input of nested sizes: normal numbers, or indices where a lookup table reads them."""
    generator = torch.Generator().manual_seed(seed)
    dtype = floating_type(conv.module)
    value = _random(sizes, generator, dtype)
    for tensor, indices in indexed_leaves(conv, value):
        drawn = torch.randint(indices.start, indices.stop, tensor.shape, generator=generator)
        tensor.copy_(drawn.to(tensor.dtype))
    return value


def _random(sizes: Any, generator: torch.Generator, dtype: torch.dtype) -> Any:
    if isinstance(sizes, (list, tuple)) and sizes and not isinstance(sizes[0], int):
        return [_random(item, generator, dtype) for item in sizes]
    return torch.randn(tuple(sizes), generator=generator, dtype=dtype)


def floating_type(module: nn.Module) -> torch.dtype:
    """The type of the first floating parameter or buffer; float32 when there is none."""
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def indices_of(record: LayerRecord) -> range:
    """The indices that a lookup layer takes."""
    if record.traits.index_count:
        return range(record.traits.first_index, record.traits.first_index + record.traits.index_count)
    weight = record.object.get("weight")
    if isinstance(weight, Tensor) and weight.size:
        return range(record.traits.first_index, record.traits.first_index + weight.size[0])
    depth = record.object.get("depth", record.object.get("outputSize"))
    return range(1, int(depth) + 1) if isinstance(depth, float) and 1 <= depth < 2**53 else range(1, 2)


def indexed_leaves(conv: ConvertedModel, value: Any) -> list[tuple[torch.Tensor, range]]:
    """The tensors of a nested input that a lookup layer reads as indices, with the indices that it takes.

    The model is run once on ones of these sizes, to see which tensors reach such a layer unchanged.
    """
    lookups = [record for record in conv.layers if record.traits.reads == "indices" or record.traits.flow == "picks"]
    if not lookups:
        return []
    originals = [tensor for _, tensor in leaves(value)]
    sizes = tuple((tuple(tensor.shape), tensor.dtype) for tensor in originals)
    if sizes not in conv.indexed:
        conv.indexed[sizes] = _followed(conv, lookups, apply(value, torch.ones_like))
    return [(originals[i], indices) for i, indices in sorted(conv.indexed[sizes].items()) if indices]


def _followed(conv: ConvertedModel, lookups: list[LayerRecord], value: Any) -> dict[int, range]:
    """The tensors of an input, by number, that reach lookup layers, with the indices that these take."""
    origins = _Origins([tensor for _, tensor in leaves(value)])
    found: dict[int, range] = {}

    def note(record: LayerRecord, module: nn.Module, args: tuple[Any, ...]) -> None:
        picks = record.traits.flow == "picks"
        takes = _rows_of(record, args[0][0]) if picks else indices_of(record)
        for _, tensor in leaves(args[0][1] if picks else args):
            for i in origins.of(tensor):
                others = found.get(i, takes)
                found[i] = range(max(takes.start, others.start), min(takes.stop, others.stop))

    budget = Budget(math.inf, conv.limits)
    with ExitStack() as hooks, suppress(Exception), torch.no_grad(), origins, budget:
        for record in lookups:
            hooks.enter_context(record.module.register_forward_pre_hook(partial(note, record)))
        run(conv.module, value)
    return found


def _rows_of(record: LayerRecord, tensor: torch.Tensor) -> range:
    """The indices of the entries that a layer may pick from a tensor."""
    dimension = record.object.get("dimension")
    axis = int(dimension) - 1 if isinstance(dimension, float) else 0
    return range(1, tensor.shape[axis] + 1)


class _Origins(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows tensors through views of them, and through operators that copy their numbers."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kept = list(tensors)  # an address tells a storage only while that is alive
        self._by_storage = {_address(tensor): frozenset([i]) for i, tensor in enumerate(tensors) if tensor.numel()}

    def of(self, tensor: torch.Tensor) -> frozenset[int]:
        """Which of the tensors hold its numbers."""
        return self._by_storage.get(_address(tensor), frozenset())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in _COPYING:
            read = frozenset[int]().union(*(self.of(tensor) for _, tensor in leaves(args)))
            for _, tensor in leaves(output) if read else ():
                self._by_storage[_address(tensor)] = self.of(tensor) | read
                self._kept.append(tensor)
        return output


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
