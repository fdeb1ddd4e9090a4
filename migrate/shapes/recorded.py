"""The input of a layer, from what its last run left in it: inputs, gradients, outputs, sizes of cudnn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..model.conversion import ConvertedModel
from ..model.layer_record import LayerRecord
from ..t7 import LuaObject, LuaTable, Storage, Tensor, Value
from ..t7.nested import nested_count
from .input_readers import FRAMES, IMAGES, INDICES, NUMBERS, VOLUMES, Entries, Entry, channels_of, kind_of

#: Dimensions of a batch of what a layer takes.
_DIMENSIONS = {IMAGES: 4, VOLUMES: 5, FRAMES: 3, NUMBERS: 2}

#: How deep tables are looked into.
_MAX_DEPTH = 8

#: No input has more tensors than the longest sequences have steps.
_MAX_TENSORS = 10_000


def recorded_sizes(entry: Entry) -> Iterator[tuple[Any, str]]:
    """Sizes of the input that the layers at the front remember, the surest first, each with a reason.

    The first layer tells most. Behind a layer that changes sizes nothing more is known.
    """
    for chain in (entry.passed, *entry.beside):
        for record in chain:
            where = f"{record.typename} at {record.path or 'the top'}"
            for name in ("gradInput", "_input", "input"):
                if sizes := sizes_of(record.object.get(name)):
                    yield sizes, f"{name} of {where} was left in the file"
            remembered = record.object.get("iSize")
            if isinstance(remembered, Storage) and remembered.data.dtype.kind == "i":
                extents = tuple(remembered.data[:6].tolist())
                if 2 < len(extents) < 6 and min(extents) > 0:
                    yield extents, f"{where} remembers the size of its input"
            output = record.object.get("output")
            if isinstance(output, Tensor) and len(output.size) > 1 and output.numel():
                told = f"the output of {where} was left in the file, {'x'.join(map(str, output.size))}"
                for sizes in before(record, output.size):
                    yield sizes, told
                for sizes in before(record, batched(output.size, Entry(kind=kind_of(record)))):
                    yield sizes, told
            elif record.traits.flow == "steps" and (steps := list(_before_steps(chain, sizes_of(output)))):
                yield steps, f"the outputs of {where} for {len(steps)} steps were left in the file"
            if not record.traits.keeps_size:
                break


def _before_steps(chain: list[LayerRecord], outputs: Any) -> Iterator[tuple[int, ...]]:
    """What a layer got at each step, if the list of its outputs has these sizes; nothing where that is not known."""
    inside = chain[1:2]  # one layer runs at each step
    if inside and isinstance(outputs, list) and all(isinstance(sizes, tuple) for sizes in outputs):
        found = [next(before(inside[0], sizes), None) for sizes in outputs]
        yield from (sizes for sizes in found if sizes is not None) if None not in found else ()


def left_by_model(conv: ConvertedModel) -> Iterator[tuple[Any, str]]:
    """Sizes of the input of a whole model, which its last run left in it."""
    root = conv.layers[0].object if conv.layers else None
    if root is None:
        return
    if sizes := sizes_of(root.get("gradInput")):
        yield sizes, "gradInput of the model was left in the file"
    node = root.get("innode")
    data = node.get("data") if isinstance(node, LuaObject) else None
    given = data.get("input") if isinstance(data, LuaTable) else None
    if isinstance(given, LuaTable) and len(given) == 1 and (sizes := sizes_of(given.list()[0])):
        yield sizes, "the input of the graph was left in the file"


def batched(sizes: Any, entries: Entries) -> Any:
    """Sizes with a batch in front: Torch7 takes a single image too, but what is exported should take many."""
    if isinstance(sizes, list):
        parts = [entries.get(i, Entry()) if isinstance(entries, dict) else Entry() for i in range(1, len(sizes) + 1)]
        indices = any(isinstance(part, Entry) and part.kind == INDICES for part in parts)
        vectors = not indices and all(isinstance(part, tuple) and len(part) == 1 for part in sizes)
        return [(2, *part) for part in sizes] if vectors else list(map(batched, sizes, parts))
    kind = entries.kind if isinstance(entries, Entry) else ""
    return (2, *sizes) if len(sizes) + 1 == _DIMENSIONS.get(kind) else sizes


def before(record: LayerRecord, output: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The sizes that a layer may have got, if it gave `output`."""
    traits = record.traits
    if traits.keeps_size:
        yield output
    elif traits.sizes_before is not None:
        yield from traits.sizes_before(record.object, output)
    elif traits.reads == INDICES:
        yield output[:-1]
    elif traits.recurrent and traits.reads == NUMBERS and (width := channels_of(record)):
        yield (*output[:-1], width)


def sizes_of(value: Value) -> Any:
    """The sizes of a tensor, or of a list of them; None where there are none, or too many, or nested too deep."""
    return _sizes_of(value) if nested_count(value) <= _MAX_TENSORS else None


def _sizes_of(value: Value, depth: int = 0) -> Any:
    if isinstance(value, Tensor) and value.size and value.numel():
        return value.size
    if isinstance(value, LuaTable) and value.is_list and len(value) and depth < _MAX_DEPTH:
        found = [_sizes_of(item, depth + 1) for item in value.list()]
        return found if all(found) else None
    return None
