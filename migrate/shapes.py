"""The input of a model: sizes written by users, sizes found in the model, random tensors of the right kind."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .build import LayerRecord
from .conversion import Conversion
from .converters.graph import Graph
from .converters.recurrent import forget
from .errors import UsageError
from .nested import leaves
from .t7 import LuaTable, Storage, Tensor, Value

#: Sizes of images that are tried, the usual ones first; then all from small to large.
_SIDES = (224, 32, 64, 28, 96, 128, 256, 227, 112, 84, 48, 16, 8, *range(4, 260, 2))
_LENGTHS = (16, 32, 8, 64, 100, 128, 4, 256)

#: Layers whose input is a 1-based index.
INDEXED = ("LookupTable", "OneHot")

#: Layers that pass sizes on, so that the sizes of the layer behind them are known from theirs.
_DIMENSIONS = {"Spatial": 4, "Volumetric": 5, "Temporal": 3}


@dataclass(frozen=True)
class Guess:
    """An input found for a model.

    Attributes:
        value: a tensor or nested list.
        reason: why this one, in words.
    """

    value: Any
    reason: str


def parse_shape(text: str) -> Any:
    """Reads sizes as users write them: `2x3x224x224`, or `{2x10,{2x20,2x20}}` for a table input.

    Returns:
        A tuple of sizes, or a nested list of them.

    Raises:
        UsageError: it is written otherwise.
    """
    value, rest = _parse(text.replace(" ", ""), text)
    if rest.startswith(","):
        value, rest = _parse("{" + text.replace(" ", "") + "}", text)
    if rest:
        raise UsageError(_spelling(text))
    return value


def _parse(rest: str, text: str) -> tuple[Any, str]:
    if rest.startswith("{"):
        items = []
        rest = rest[1:]
        while True:
            item, rest = _parse(rest, text)
            items.append(item)
            if rest.startswith(","):
                rest = rest[1:]
            elif rest.startswith("}"):
                return items, rest[1:]
            else:
                raise UsageError(_spelling(text))
    end = min((i for i in (rest.find(","), rest.find("}")) if i >= 0), default=len(rest))
    sizes = rest[:end].split("x")
    if not all(size.isascii() and size.isdigit() and int(size) > 0 for size in sizes):
        raise UsageError(_spelling(text))
    return tuple(int(size) for size in sizes), rest[end:]


def _spelling(text: str) -> str:
    return f"The input shape {text!r} is not understood; write 2x3x224x224, or {{2x10,2x20}} for a table of two inputs."


def input_of(conv: Conversion, input_shape: Any = None, seed: int = 0) -> Guess:
    """Random input of the given sizes, or of sizes found in the model.

    Args:
        conv: the converted model.
        input_shape: as text, a tuple, or a nested list of tuples; None: find one.
        seed: of the random numbers.

    Raises:
        UsageError: the sizes are malformed, or none could be found.
    """
    if input_shape is None:
        return infer_input(conv, seed)
    sizes = parse_shape(input_shape) if isinstance(input_shape, str) else input_shape
    return Guess(make_input(conv, sizes, seed), "the input shape was given")


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


def run(module: nn.Module, value: Any) -> Any:
    """Runs a module in the mode that it is in, forgetting any state that it remembers between calls."""
    forget(module)
    return module(value)


def infer_input(conv: Conversion, seed: int = 0) -> Guess:
    """Finds an input that the model accepts.

    Raises:
        UsageError: none was found; it says what is known and what to pass.
    """
    tried = []
    for sizes, reason in _candidates(conv):
        tried.append(sizes)
        if accepts(conv, sizes):
            return Guess(make_input(conv, sizes, seed), reason)
    known = _first_layer(conv)
    hint = f" Its first layer with weights is {known}." if known else ""
    example = "{2x10,2x20}" if _takes_table(conv) else "2x3x224x224"
    raise UsageError(
        f"The input shape of the model was not found ({len(tried)} tried).{hint} Pass it: --input-shape {example} "
        f"(input_shape={example!r})."
    )


def accepts(conv: Conversion, sizes: Any) -> bool:
    """Does the model run on an input of these sizes, without mixing samples?"""
    try:
        value = make_input(conv, sizes)
        with torch.no_grad():
            return not mixed(value, run(_on_meta(conv), _to_meta(value)))
    except NotImplementedError:
        pass  # some operators need numbers
    except Exception:
        return False
    try:
        with torch.no_grad():
            return not mixed(value, run(conv.module, value))
    except Exception:
        return False


def mixed(value: Any, output: Any) -> str:
    """Says that the samples of a batch of images were mixed, as a View of fixed size does when they are too large.

    Returns:
        "" if each output has as many rows as the batch.
    """
    inputs = [tensor for _, tensor in leaves(value)]
    batches = {tensor.shape[0] for tensor in inputs if tensor.dim() > 3}
    if len(batches) != 1 or any(tensor.dim() < 4 for tensor in inputs):
        return ""
    batch = batches.pop()
    rows = {tensor.shape[0] for _, tensor in leaves(output) if tensor.dim()} - {batch}
    if batch == 1 or not rows:
        return ""
    return f"a batch of {batch} gives {min(rows)} rows, so samples are mixed: is the input of another size?"


def _to_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to("meta")
    return [_to_meta(item) for item in value]


def _on_meta(conv: Conversion) -> nn.Module:
    memo: dict[int, Any] = {}
    for tensor in [*conv.module.parameters(), *conv.module.buffers()]:
        made: torch.Tensor = tensor.detach().to("meta")
        memo[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
    return copy.deepcopy(conv.module, memo)


def _candidates(conv: Conversion) -> Iterator[tuple[Any, str]]:
    """Sizes worth trying, the surest first."""
    for record in conv.layers[:1]:
        value = record.object.get("gradInput")
        sizes = _sizes_of(value)
        if sizes:
            yield sizes, "gradInput of the model was left in the file"
    yield from _graph_candidates(conv)
    first = next((record for record in conv.layers if _input_size(record)), None)
    if first is None or _takes_table(conv):
        yield from _table_candidates(conv)
        return
    given = first.object.get("iSize")
    if isinstance(given, Storage) and len(given.data) > 2 and min(given.data) > 0:
        yield (tuple(int(n) for n in given.data), f"{first.typename} at {first.path} remembers the size of its input")
    value = first.object.get("gradInput")
    recorded = _sizes_of(value)
    if recorded:
        yield recorded, f"gradInput of {first.typename} at {first.path} was left in the file"
    yield from _tried(first)


def _tried(first: LayerRecord) -> Iterator[tuple[Any, str]]:
    size = _input_size(first)
    where = f"{first.typename} at {first.path or 'the top'}"
    name = first.typename.split(".")[-1]
    if name.startswith(INDEXED):
        for length in _LENGTHS:
            yield (2, length), f"{where} takes indices; the length {length} was tried and fits"
        return
    dimensions = next((n for prefix, n in _DIMENSIONS.items() if name.startswith(prefix)), 2)
    if dimensions == 2:
        yield (2, size), f"{where} takes {size} numbers"
        # a Linear behind a View: the input may be an image
        for channels in (1, 3):
            side = round((size / channels) ** 0.5)
            if channels * side * side == size:
                yield (2, channels, side, side), f"{where} takes {size} numbers, an image of {channels} channels"
    elif dimensions == 3:
        for length in _LENGTHS:
            yield (2, length, size), f"{where} takes frames of {size} numbers; the length {length} was tried and fits"
    elif dimensions == 4:
        # generators begin with a single pixel
        for side in (1, 4, 8, *_SIDES) if "FullConvolution" in name else _SIDES:
            yield (2, size, side, side), f"{where} takes {size} channels; {side}x{side} was tried and fits"
    else:
        for side in _SIDES:
            yield (2, size, 16, side, side), f"{where} takes {size} channels; 16x{side}x{side} was tried and fits"
            yield (2, size, 8, side, side), f"{where} takes {size} channels; 8x{side}x{side} was tried and fits"


def _graph_candidates(conv: Conversion) -> Iterator[tuple[Any, str]]:
    """A table with one entry per input of a graph, of the size that the layer behind it takes."""
    graph = conv.module
    if not isinstance(graph, Graph):
        return
    sources = [source for _, found in graph.nodes for source in found]
    entries = {source[1] for source in sources if source[0] == 0 and len(source) > 1}
    if not entries or [0] in sources:
        return
    known = {entry: _size_behind(graph, [0, entry]) for entry in range(max(entries) + 1)}
    states = [size for size in known.values() if size is not None and len(size) == 2]
    sizes = [known[entry] or (states[0] if states else (2,)) for entry in sorted(known)]
    yield sizes, f"one entry for each of the {len(sizes)} inputs of the graph, as the layers behind them take them"


def _size_behind(graph: Graph, source: list[int]) -> tuple[int, ...] | None:
    for step, (index, found) in enumerate(graph.nodes, 1):
        if source not in found or index < 0:
            continue
        module = graph[index]
        if isinstance(module, nn.Linear):
            return (2, module.in_features)
        if type(module).__name__.startswith(INDEXED):
            return (2,)
        if isinstance(module, (nn.Identity, nn.Dropout)) and (size := _size_behind(graph, [step])):
            return size
    return None


def _table_candidates(conv: Conversion) -> Iterator[tuple[Any, str]]:
    """A table with one entry per branch of a ParallelTable at the front."""
    table = next((record for record in conv.layers[:3] if record.typename == "nn.ParallelTable"), None)
    if table is None:
        return
    branches = table.object.get("modules")
    if not isinstance(branches, LuaTable):
        return
    options: list[list[tuple[int, ...]]] = []
    for i in range(1, len(branches) + 1):
        prefix = f"{table.path}.{i}" if table.path else str(i)
        inside = [r for r in conv.layers if r.path == prefix or r.path.startswith(prefix + ".")]
        first = next((record for record in inside if _input_size(record)), None)
        if first is None:
            return
        options.append([sizes for sizes, _ in _tried(first)])
    for choice in range(max(len(o) for o in options)):
        sizes = [o[min(choice, len(o) - 1)] for o in options]
        yield sizes, f"one entry for each branch of nn.ParallelTable at {table.path or 'the top'}"


def _takes_table(conv: Conversion) -> bool:
    names = [record.typename for record in conv.layers[:3] if record.typename != "nn.Sequential"]
    return bool(names) and names[0] in ("nn.ParallelTable", "nn.JoinTable", "nn.CAddTable", "nn.MM", "nn.SelectTable")


def _input_size(record: LayerRecord) -> int:
    """How many channels or numbers a layer takes; 0 where its fields don't say."""
    for name in ("nInputPlane", "inputSize", "inputFrameSize", "depth"):
        value = record.object.get(name)
        if isinstance(value, float) and value > 0:
            return int(value)
    weight = record.object.get("weight")
    if not isinstance(weight, Tensor) or not weight.size:
        return 0
    name = record.typename.split(".")[-1]
    if name.startswith(INDEXED):
        return weight.size[0]
    return weight.size[1] if len(weight.size) == 2 else weight.size[0]


def _sizes_of(value: Value) -> Any:
    """The sizes of a tensor, or of a list of them, with a batch of at least 2; None where there are none."""
    if isinstance(value, Tensor) and len(value.size) > 1 and value.numel():
        return (max(2, value.size[0]), *value.size[1:])
    if isinstance(value, LuaTable) and value.is_list and len(value):
        found: Sequence[Any] = [_sizes_of(item) for item in value.list()]
        return list(found) if all(found) else None
    return None


def _first_layer(conv: Conversion) -> str:
    record = next((record for record in conv.layers if _input_size(record)), None)
    if record is None:
        return ""
    return f"{record.typename} at {record.path or 'the top'}, which takes {_input_size(record)} channels or numbers"
