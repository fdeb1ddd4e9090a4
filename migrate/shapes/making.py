"""Random inputs of given sizes: normal numbers, or 1-based indices where a lookup table reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..build import LayerRecord
from ..conversion import Conversion
from ..nested import leaves
from ..t7 import Tensor
from .running import run

#: Layers whose input is a 1-based index.
INDEXED = ("LookupTable", "OneHot")


def make_input(conv: Conversion, sizes: Any, seed: int = 0) -> Any:
    """Random input of nested sizes: normal numbers, or 1-based indices where a lookup table reads them."""
    generator = torch.Generator().manual_seed(seed)
    dtype = floating_type(conv.module)
    value = _random(sizes, generator, dtype)
    for tensor, rows in indexed_leaves(conv, value):
        tensor.copy_(torch.randint(1, rows + 1, tensor.shape, generator=generator).to(tensor.dtype))
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


def indexed_leaves(conv: Conversion, value: Any) -> list[tuple[torch.Tensor, int]]:
    """The tensors of a nested input that a lookup layer reads as indices, with the number of its rows.

    The model is run once on ones, to see which tensors reach such a layer unchanged.
    """
    lookups = [record for record in conv.layers if record.typename.split(".")[-1].startswith(INDEXED)]
    if not lookups:
        return []
    originals = [tensor for _, tensor in leaves(value)]
    ones = [torch.ones_like(tensor) for tensor in originals]
    by_storage = {tensor.untyped_storage().data_ptr(): i for i, tensor in enumerate(ones)}
    found: dict[int, int] = {}
    handles = [record.module.register_forward_pre_hook(_Watch(record, by_storage, found)) for record in lookups]
    try:
        with torch.no_grad():
            run(conv.module, _refilled(value, iter(ones)))
    except Exception:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return [(originals[i], rows) for i, rows in sorted(found.items())]


def _refilled(value: Any, tensors: Iterator[torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return next(tensors)
    return [_refilled(item, tensors) for item in value]


class _Watch:
    """A hook that notes which tensors of the input a lookup layer reads."""

    def __init__(self, record: LayerRecord, by_storage: dict[int, int], found: dict[int, int]) -> None:
        self.record = record
        self.by_storage = by_storage
        self.found = found

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        weight = self.record.object.get("weight")
        rows = weight.size[0] if isinstance(weight, Tensor) and weight.size else _rows_of(self.record)
        for _, tensor in leaves(args):
            i = self.by_storage.get(tensor.untyped_storage().data_ptr())
            if i is not None:
                self.found[i] = min(rows, self.found.get(i, rows))


def _rows_of(record: LayerRecord) -> int:
    depth = record.object.get("depth")
    return int(depth) if isinstance(depth, float) else 1
