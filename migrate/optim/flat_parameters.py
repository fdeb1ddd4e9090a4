"""Where each number of a Torch7 model lies in the flat vector that `getParameters()` makes, and optim works on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.errors import UsageError
from ..model.registry import traits_of
from ..t7 import LuaObject, LuaTable, Storage, Tensor, Value

Positions = npt.NDArray[np.int64]


def parameters(module: LuaObject, *, once: bool = False) -> list[Tensor]:
    """The tensors that Torch7's `module:parameters()` lists, in its order, repeated where modules repeat.

    Args:
        module: the model, or a part of it.
        once: list each module where it comes first and not again: shared ones can make the list very long.
    """
    found: list[Tensor] = []
    stack: list[Value] = [module]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if once and id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, LuaTable):
            stack += reversed(item.list())
        elif isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, LuaObject):
            stack += reversed(list(_below(item)))
    return found


def _below(module: LuaObject) -> Iterator[Value]:
    """What `parameters()` of one module goes through: its children's, or else its own tensors."""
    traits = traits_of(module.typename)
    held = [module.get(name) for name in traits.children]
    children = [child for child in held if isinstance(child, (LuaTable, LuaObject))]
    if children and not traits.parameters:
        yield from children
        return
    for path in traits.parameters or ("weight", "bias"):
        found: Any = module
        for part in path.split("."):
            found = found.get(float(part) if part.isdigit() else part) if found is not None else None
        if isinstance(found, Tensor) and found.numel():
            yield found


@dataclass(frozen=True)
class Flat:
    """The flat vector of a model.

    Attributes:
        size: how many numbers it has.
        storages: for each storage that holds parameters (by its id), the position of each of its elements in the
            vector, -1 where it is no parameter.
        kept: the storages themselves, without which their ids would mean nothing.
    """

    size: int
    storages: dict[int, Positions]
    kept: tuple[Storage, ...]

    def positions(self, tensor: Tensor) -> Positions | None:
        """The position of each element of a tensor, in its own shape; None if it is no parameter."""
        inside = self.storages.get(id(tensor.storage))
        if inside is None:
            return None
        step = inside.itemsize
        found: Positions = np.ndarray(
            tensor.size, inside.dtype, inside, (tensor.offset - 1) * step, [s * step for s in tensor.stride]
        )
        return None if found.size == 0 or int(found.min()) < 0 else found


def vector_sizes(module: LuaObject) -> set[int]:
    """How long a flat vector of the model may be: its own, or that of the one storage that it shares with others."""
    _, used = _storages(parameters(module, once=True))
    own = sum(int(mask.sum()) for mask in used.values())
    return {own, *(len(mask) for mask in used.values())} if len(used) == 1 else {own}


def flatten(module: LuaObject, size: int | None = None) -> Flat:
    """What `module:getParameters()` does: storages in the order in which `parameters()` meets them, without holes.

    Args:
        module: the model, or a part of it.
        size: how long the vector at hand is. If it is as long as the one storage in which all parameters lie, that
            storage is the vector: several models were flattened together, and this is one of them.

    Raises:
        UsageError: the model has another number of parameters.
    """
    return flatten_tensors(parameters(module, once=True), size)


def flatten_tensors(tensors: Iterable[Tensor], size: int | None = None) -> Flat:
    """What `getParameters()` does with the tensors that `parameters()` lists.

    Args:
        tensors: in that order; those that are listed again change nothing.
        size: how long the vector at hand is, as in `flatten`.

    Raises:
        UsageError: the tensors have another number of elements.
    """
    storages, used = _storages(tensors)
    counts = {key: int(mask.sum()) for key, mask in used.items()}
    total = sum(counts.values())
    compacted = size in (None, total)
    if not compacted and [len(mask) for mask in used.values()] != [size]:
        raise UsageError(
            f"The optimizer's state is for {size:,} parameters, the model has {total:,}: they do not fit together."
        )
    start = 0
    found = {}
    for key, mask in used.items():
        if counts[key] == len(mask) or not compacted:
            found[key] = np.where(mask, np.arange(start, start + len(mask)), -1)
        else:
            found[key] = np.where(mask, start - 1 + np.cumsum(mask, dtype=np.int64), -1)
        start += counts[key] if compacted else len(mask)
    return Flat(start, found, tuple(storages.values()))


def _storages(tensors: Iterable[Tensor]) -> tuple[dict[int, Storage], dict[int, npt.NDArray[np.bool_]]]:
    """The storages in which parameters lie, by their ids, and which of their elements are parameters."""
    storages: dict[int, Storage] = {}
    used: dict[int, npt.NDArray[np.bool_]] = {}
    for tensor in tensors:
        if tensor.storage is None:
            continue
        mask = used.setdefault(id(tensor.storage), np.zeros(len(tensor.storage), np.bool_))
        storages[id(tensor.storage)] = tensor.storage
        view = np.ndarray(tensor.size, mask.dtype, mask, tensor.offset - 1, tensor.stride)
        view[...] = True
    return storages, used
