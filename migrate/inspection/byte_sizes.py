"""Where the bytes of a file are: real weights, gradients, what runs left behind, the optimizer, the rest."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.leftover_fields import RECORDED
from ..t7 import Storage, Tensor, Value
from .walk import FoundValue, everything

WEIGHTS, GRADIENTS, LEFT, OTHER = "weights", "gradients", "left by runs", "other tensors"
#: A storage that several kinds of tensors share counts as the first of these.
_ORDER = (WEIGHTS, GRADIENTS, LEFT, OTHER)


@dataclass
class Sizes:
    """Bytes of the numbers of a file, each storage counted once.

    Attributes:
        file: the size of the file.
        weights: parameters, statistics of batch normalizations, constants: what a model needs.
        gradients: of the parameters.
        left_by_runs: outputs, inputs and buffers that runs left in the modules; `clearState()` takes them away.
        other: tensors outside of modules: the optimizer's state, means, data.
        structure: names, tables, objects: the rest of a binary file; None for ASCII.
    """

    file: int
    weights: int
    gradients: int
    left_by_runs: int
    other: int
    structure: int | None


def sizes_of(value: Value, file_size: int, *, binary: bool) -> Sizes:
    """Sums up the storages of a file by what they are for."""
    kinds: dict[int, str] = {}
    storages: dict[int, Storage] = {}
    for found in everything(value):
        if isinstance(found.value, Tensor) and found.value.storage is not None:
            storage, kind = found.value.storage, _kind(found)
        elif isinstance(found.value, Storage):
            storage, kind = found.value, LEFT if found.owner is not None else OTHER
        else:
            continue
        storages[id(storage)] = storage
        kinds[id(storage)] = min(kind, kinds.get(id(storage), kind), key=_ORDER.index)
    totals = dict.fromkeys(_ORDER, 0)
    for key, storage in storages.items():
        totals[kinds[key]] += len(storage) * storage.itemsize
    rest = file_size - sum(totals.values()) if binary else None
    return Sizes(file_size, totals[WEIGHTS], totals[GRADIENTS], totals[LEFT], totals[OTHER], rest)


def _kind(found: FoundValue) -> str:
    owner, name = found.owner, found.name
    if owner is None or owner.typename.startswith(("torch.", "tds.", "optim.")):
        return OTHER
    if owner.typename.startswith(("nngraph.", "graph.")) or name in RECORDED or name.startswith(("_", "gradInput")):
        return LEFT
    return GRADIENTS if name.startswith("grad") else WEIGHTS
