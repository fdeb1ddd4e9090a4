"""The input of a layer, from what its last run left in it: inputs, gradients, outputs, sizes of cudnn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from ..model.record import LayerRecord
from ..t7 import LuaObject, LuaTable, Storage, Tensor, Value
from .readers import FRAMES, IMAGES, INDICES, VOLUMES, Entry, kind_of

#: Dimensions of a batch of what a layer takes.
_DIMENSIONS = {IMAGES: 4, VOLUMES: 5, FRAMES: 3}

#: How deep tables are looked into.
_MAX_DEPTH = 8

#: Outputs of these have the size of their input.
_KEEPS_SIZE = (
    *("ReLU", "Tanh", "Sigmoid", "ELU", "Threshold", "Identity", "Dropout", "BatchNormalization", "MulConstant"),
    *(
        "AddConstant",
        "SoftPlus",
        "HardTanh",
        "Normalization",
        "LRN",
        "CMul",
        "CAdd",
        "Mul",
        "Add",
        "Contiguous",
        "Copy",
    ),
)


def recorded_sizes(entry: Entry) -> Iterator[tuple[Any, str]]:
    """Sizes of the input that the layers at the front remember, the surest first, each with a reason.

    The first layer tells most. Behind a layer that changes sizes nothing more is known.
    """
    for chain in (entry.passed, *entry.beside):
        yield from _remembered(chain, entry.kind)


def _remembered(chain: list[LayerRecord], kind: str) -> Iterator[tuple[Any, str]]:
    for record in chain:
        where = f"{record.typename} at {record.path or 'the top'}"
        for name in ("gradInput", "_input", "input"):
            if sizes := sizes_of(record.object.get(name)):
                yield batched(sizes, kind), f"{name} of {where} was left in the file"
        remembered = record.object.get("iSize")
        if isinstance(remembered, Storage) and 2 < len(remembered) < 6 and _are_sizes(remembered):
            yield tuple(int(n) for n in remembered.data), f"{where} remembers the size of its input"
        output = record.object.get("output")
        if isinstance(output, Tensor) and len(output.size) > 1 and output.numel():
            told = f"the output of {where} was left in the file, {'x'.join(map(str, output.size))}"
            for sizes in before(record, batched(output.size, kind_of(record))):
                yield sizes, told
        if not _name(record).endswith(_KEEPS_SIZE):
            return


def _are_sizes(storage: Storage) -> bool:
    return storage.data.dtype.kind == "i" and bool(min(storage.data) > 0)


def batched(sizes: Any, kind: str) -> Any:
    """Sizes with a batch in front: Torch7 takes a single image too, but what is exported should take many."""
    if isinstance(sizes, tuple) and len(sizes) + 1 == _DIMENSIONS.get(kind):
        return (2, *sizes)
    return sizes


def before(record: LayerRecord, output: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The sizes that a layer may have got, if it gave `output`."""
    name, obj = _name(record), record.object
    if name.endswith(_KEEPS_SIZE):
        yield output
    elif kind_of(record) == INDICES:
        yield output[:-1]
    elif name == "Transpose":
        if sizes := _untransposed(obj, output):
            yield sizes
    elif name in ("Linear", "LinearNoBias") and isinstance(weight := obj.get("weight"), Tensor):
        yield (output[0], weight.size[1])
    elif name.startswith(("SpatialConvolution", "SpatialMaxPooling", "SpatialAveragePooling")) and len(output) == 4:
        yield from _before_windows(obj, output)


def _before_windows(obj: LuaObject, output: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    planes = obj.get("nInputPlane")
    ranges = []
    for extent, axis in zip(output[2:], "HW", strict=True):
        window, step = obj.get(f"k{axis}"), obj.get(f"d{axis}", 1.0)
        padding = obj.get(f"pad{axis}", obj.get("padding", 0.0))
        if not all(isinstance(number, float) for number in (window, step, padding)) or step < 1:
            return
        least = (extent - 1) * int(step) + int(window) - 2 * int(padding)
        fitting = range(max(1, least), least + int(step))
        # windows without padding are mostly made to fit; with padding, images are mostly of round sizes
        ranges.append(sorted(fitting, key=_roundness if padding > 0 else None))
    for height, width in product(*ranges):
        yield (output[0], int(planes) if isinstance(planes, float) else output[1], height, width)


def _roundness(size: int) -> tuple[int, int]:
    return -(size & -size), size


def _untransposed(obj: LuaObject, output: tuple[int, ...]) -> tuple[int, ...] | None:
    swaps = obj.get("permutations")
    if not isinstance(swaps, LuaTable) or obj.get("numInputDims") is not None:
        return None
    sizes = list(output)
    for swap in reversed(swaps.list()):
        pair = [int(n) - 1 for n in swap.list() if isinstance(n, float)] if isinstance(swap, LuaTable) else []
        if len(pair) != 2 or not all(0 <= place < len(sizes) for place in pair):
            return None
        sizes[pair[0]], sizes[pair[1]] = sizes[pair[1]], sizes[pair[0]]
    return tuple(sizes)


def sizes_of(value: Value, depth: int = 0) -> Any:
    """The sizes of a tensor, or of a list of them; None where there are none, or where it is nested too deep."""
    if isinstance(value, Tensor) and len(value.size) > 1 and value.numel():
        return value.size
    if isinstance(value, LuaTable) and value.is_list and len(value) and depth < _MAX_DEPTH:
        found = [sizes_of(item, depth + 1) for item in value.list()]
        return found if all(found) else None
    return None


def _name(record: LayerRecord) -> str:
    return record.typename.split(".")[-1]
