"""What Torch7 left in a file when it last ran the model: outputs of modules, inputs of graph nodes, buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ...model.build import to_torch_tensor
from ...model.conversion import ConvertedModel
from ...model.layer_record import LayerRecord
from ...model.memory.buffers import writes
from ...optim.last_step import counts_steps, gradients_of, objects_in, were_written
from ...t7 import LuaObject, LuaTable, Tensor, Value
from ...t7.nested import nested_count
from ..judge.compare import Tolerance
from ..network_copies import leaf_indices
from ..runs.layers import worst
from ..trace import LayerRun

#: Deeper nesting than any output has; it bounds the recursion.
_MAX_DEPTH = 16

#: More numbers than any tensor of a last run has; an expanded tensor of a hostile file may claim any size.
MOST_NUMBERS = 1 << 28

#: The statistics of one batch agree up to rounding, as a share of its deviation.
_SAME_BATCH = 0.01

#: A mean in single precision is off by its own rounding, that of the sum and that of the input that it is of.
_MEAN_ROUNDING = 4 * 2.0**-24

#: Convolutions that keep samples and channels before all else.
Convolution = nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d

#: Part of a storage: its id, the first and the last element.
Span = tuple[int, int, int]


@dataclass(frozen=True)
class Recording:
    """What is left of Torch7's last run.

    Attributes:
        outputs: output by the index of the layer.
        spans: where these numbers lie, likewise.
        gpu: were they computed on a GPU?
        dtype: type of the coarsest of them.
    """

    outputs: Mapping[int, Any]
    spans: Mapping[int, tuple[Span, ...]]
    gpu: bool
    dtype: torch.dtype

    def overwrites(self, later: int, earlier: int) -> bool:
        """Do the outputs of two layers share memory?"""
        return any(
            a[0] == b[0] and a[1] <= b[2] and b[1] <= a[2] for a in self.spans[later] for b in self.spans[earlier]
        )


def find_recording(conv: ConvertedModel) -> Recording | None:
    """The activations in the file; None where there are none, as after `clearState()`."""
    fields = {i: record.object.get("output") for i, record in enumerate(conv.layers)}
    by_object = {id(record.object): i for i, record in enumerate(conv.layers)}
    for record in conv.layers:
        for module, value in _node_outputs(record.object):
            i = by_object.get(id(module))
            if i is not None and not (nested_count(fields[i]) <= conv.limits.runs and _usable(fields[i])):
                fields[i] = value
    found, left = {}, float(conv.limits.runs)  # tables hold as many tensors together as a run may give
    for i, value in fields.items():
        count = nested_count(value)
        if count <= left and _usable(value):
            found[i], left = value, left - count
    tensors = [tensor for value in found.values() for tensor in _tensors(value)]
    if not tensors:
        return None
    return Recording(
        {i: _nested(value) for i, value in found.items()},
        {i: tuple(_span(tensor) for tensor in _tensors(value)) for i, value in found.items()},
        any("Cuda" in tensor.type for tensor in tensors),
        _coarsest(tensors),
    )


def _coarsest(tensors: list[Tensor]) -> torch.dtype:
    """The type in which the numbers were computed: a model that was made double holds those of its former type."""
    floating = [tensor for tensor in tensors if tensor.dtype.kind == "f"]
    size = min((tensor.dtype.itemsize for tensor in floating), default=8)
    with np.errstate(over="ignore", invalid="ignore"):
        if size == 8 and all((tensor.numpy().astype(np.float32) == tensor.numpy()).all() for tensor in floating):
            size = 4
    return {2: torch.float16, 4: torch.float32}.get(size, torch.float64)


def _usable(value: Value, depth: int = 0) -> bool:
    """Is it a tensor with numbers, or a table of such?"""
    if isinstance(value, Tensor):
        return 0 < value.numel() <= max(MOST_NUMBERS, len(value.storage or ()))
    if isinstance(value, LuaTable) and value.is_list and depth < _MAX_DEPTH:
        return len(value) > 0 and all(_usable(item, depth + 1) for item in value.list())
    return False


def _tensors(value: Value) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    else:
        for item in value.list():
            yield from _tensors(item)


def _nested(value: Value) -> Any:
    return to_torch_tensor(value) if isinstance(value, Tensor) else [_nested(item) for item in value.list()]


def _span(tensor: Tensor) -> Span:
    reach = sum((size - 1) * abs(stride) for size, stride in zip(tensor.size, tensor.stride, strict=True))
    return id(tensor.storage), tensor.offset, tensor.offset + reach


def _node_outputs(graph: LuaObject) -> Iterator[tuple[Value, Value]]:
    """(module, output) of the nodes of a graph: what a node got is what the nodes before it gave."""
    nodes = graph.get("forwardnodes")
    for node in nodes.list() if isinstance(nodes, LuaTable) and nodes.is_list else []:
        data = node.get("data") if isinstance(node, LuaObject) else None
        if not isinstance(data, LuaTable):
            continue
        sources, given = data.get("mapindex"), data.get("input")
        if not isinstance(sources, LuaTable) or not isinstance(given, LuaTable):
            continue
        for key, value in given.items():
            source = sources.get(key)
            if isinstance(source, LuaTable) and source.get("module") is not None:
                yield source.get("module"), value


def graph_input(conv: ConvertedModel) -> Any:
    """The input that a graph still holds in its first node; None if there is none."""
    node = conv.layers[0].object.get("innode") if conv.layers else None
    data = node.get("data") if isinstance(node, LuaObject) else None
    given = data.get("input") if isinstance(data, LuaTable) else None
    if nested_count(given) > conv.limits.runs or not _usable(given):
        return None
    value = _nested(given)
    return value[0] if len(value) == 1 else value


def is_writer(record: LayerRecord, *, leaf: bool) -> bool:
    """May a layer whose output lies in its input's storage have changed the numbers there?"""
    return leaf and (changes_input(record) or record.traits.output not in ("pass", "copy", "children"))


def changes_input(record: LayerRecord) -> bool:
    """May Torch7 have changed the input of a layer in place? Dropout does so only when it trains."""
    changes = writes(record) or record.object.get("inplace") is True
    if record.traits.output != "pass":
        return changes
    noise = record.object.get("noise")
    trained = record.train or (isinstance(noise, Tensor) and noise.numel() > 0)
    return changes and trained


def ran_in_training(record: LayerRecord, output: Any) -> bool:
    """Does a dropout layer hold the noise that made the zeros of its output, or a binary one what made its signs?"""
    drawn, before = record.object.get("randmat"), record.object.get("outputR")
    if isinstance(drawn, Tensor) and isinstance(before, Tensor) and isinstance(output, torch.Tensor):
        same_size = drawn.numel() == before.numel() == output.numel()
        signs = (to_torch_tensor(before) - to_torch_tensor(drawn)).sign() if same_size else None
        return signs is not None and torch.equal(signs.reshape(output.shape), output)
    noise = noise_in(record, output)
    if noise is None:
        return False
    dropped = noise == 0
    return bool(dropped.any()) and bool((output[dropped] == 0).all())


def went_back_in_place(record: LayerRecord) -> bool:
    """Has a backward pass changed the output of a layer in place back to what its input was?"""
    left = record.object.get("gradInput")
    return record.traits.undoes and record.object.get("inplace") is True and isinstance(left, Tensor) and _usable(left)


def ran_on_batch(record: LayerRecord, given: Any) -> bool | None:
    """Are the statistics that a batch normalization kept those of its input, so that it ran in training mode?

    None where it keeps none, or that can't be told.
    """
    mean, scale = (record.object.get(name) for name in ("save_mean", "save_std"))
    if not isinstance(mean, Tensor) or not isinstance(scale, Tensor) or not isinstance(given, torch.Tensor):
        return None
    if given.dim() < 2 or {mean.numel(), scale.numel()} != {given.shape[1]} or not given.numel():
        return None
    eps = record.object.get("eps")
    rows = given.double().movedim(1, 0).reshape(given.shape[1], -1)
    kept_mean, kept_scale = (to_torch_tensor(kept).double().reshape(-1) for kept in (mean, scale))
    # `save_std` is one over the deviation
    apart = (kept_mean - rows.mean(1)) * kept_scale
    spread = rows.var(1, unbiased=False)
    # where a channel is a large constant, both are of the rounding of its mean
    rounded = _MEAN_ROUNDING * (kept_mean.abs() + rows.abs().amax(1))
    slack = rounded * kept_scale
    added = eps if isinstance(eps, float) else 0.0
    least = ((spread.sqrt() - rounded).clamp(min=0).square() + added).sqrt() * kept_scale
    most = ((spread.sqrt() + rounded).square() + added).sqrt() * kept_scale
    if not all(bool(torch.isfinite(numbers).all()) for numbers in (apart, slack, least, most)):
        return None
    if bool((apart.abs() - slack > _SAME_BATCH).any()):
        return False
    if bool((least - 1 > _SAME_BATCH).any()) or bool((1 - most > _SAME_BATCH).any()):
        return False
    return True if bool(((spread.sqrt() * kept_scale > _SAME_BATCH) & (slack <= _SAME_BATCH)).any()) else None


def noise_in(record: LayerRecord, output: Any) -> torch.Tensor | None:
    """The noise that a layer drew when it last trained, for each number of its output, or for whole channels of it.

    None where it holds none of that size.
    """
    noise = record.object.get("noise")
    if not isinstance(noise, Tensor) or not noise.numel() or not isinstance(output, torch.Tensor):
        return None
    found = to_torch_tensor(noise)
    if found.numel() == output.numel():
        return found.reshape(output.shape)
    sizes = zip(found.shape, output.shape, strict=False)
    fits = found.dim() == output.dim() and all(mine in (1, theirs) for mine, theirs in sizes)
    return found.expand(output.shape) if fits else None


def drew(record: LayerRecord, step: LayerRun, recorded: Any, rule: Tolerance, *, shared: bool) -> bool:
    """May a layer that is in evaluation mode now have drawn the noise that it holds in its last run?

    Args:
        record: the layer.
        step: its run on what Torch7 gave it.
        recorded: what is in the file of its output.
        rule: its tolerance.
        shared: may others have written over that?
    """
    noise = noise_in(record, step.output)
    if noise is None or not isinstance(step.input, torch.Tensor):
        return False
    made = (step.input * noise, step.input + noise)
    return shared or any(worst(numbers.to(step.output), recorded, rule).passed for numbers in made)


def recover_input(record: LayerRecord, output: Any, like: torch.Tensor, *, overwritten: bool) -> torch.Tensor | None:
    """The input of a layer, from the buffers that Torch7 leaves in it; None where they do not tell.

    Args:
        record: the layer.
        output: what Torch7 recorded of its output.
        like: an input of the size that the layer takes.
        overwritten: may the output have been overwritten? Then its size alone tells something.
    """
    if isinstance(record.module, (nn.Conv2d, nn.Conv3d)) and isinstance(output, torch.Tensor):
        return _folded(record, record.module, output)
    copied = record.object.get("_input")
    if record.traits.reads == "indices" and record.object.get("copiedInput") and isinstance(copied, Tensor):
        return to_torch_tensor(copied) if copied.numel() else None
    if record.traits.keeps_numbers and isinstance(output, torch.Tensor) and not overwritten:
        return output.reshape(like.shape) if output.numel() == like.numel() else None
    return None


def _folded(record: LayerRecord, module: nn.Conv2d | nn.Conv3d, output: torch.Tensor) -> torch.Tensor | None:
    """The images whose columns a convolution unfolded into its field `finput`."""
    field = record.object.get("finput")
    if not isinstance(field, Tensor) or not field.numel() or isinstance(module.padding, str):
        return None
    columns = to_torch_tensor(field)
    dims = len(module.kernel_size)
    if columns.dim() == 2:
        columns = columns.unsqueeze(0)
    single = output.dim() == dims + 1
    wanted = (1, *output.shape) if single else tuple(output.shape)
    rows = module.in_channels * prod(module.kernel_size)
    if module.groups != 1 or len(wanted) != dims + 2 or columns.shape != (wanted[0], rows, prod(wanted[2:])):
        return None
    size = (module.in_channels, *input_size(module, wanted[2:]))
    if min(size) < 1 or wanted[0] * prod(size) > MOST_NUMBERS:
        return None
    places = _columns(torch.arange(1, prod(size) + 1).reshape(size), module).reshape(-1)  # 0: in the padding
    image = columns.new_zeros(wanted[0], prod(size) + 1)
    image[:, places] = columns.reshape(wanted[0], -1)
    image[:, 0] = 0
    if not torch.equal(image[:, places], columns.reshape(wanted[0], -1)):
        return None  # another run, or another layer, has used the buffer since
    image = image[:, 1:].reshape(wanted[0], *size)
    return image.squeeze(0) if single else image


def _columns(image: torch.Tensor, module: nn.Conv2d | nn.Conv3d) -> torch.Tensor:
    """What a convolution multiplies with its weights: a row for each of these, a column for each output."""
    assert not isinstance(module.padding, str)
    dims = len(module.kernel_size)
    found = functional.pad(image, [n for padding in reversed(module.padding) for n in (padding, padding)])
    for d in range(dims):
        step = module.dilation[d]
        found = found.unfold(d + 1, step * (module.kernel_size[d] - 1) + 1, module.stride[d])[..., ::step]
    found = found.permute(0, *range(dims + 1, 2 * dims + 1), *range(1, dims + 1))
    return found.reshape(image.shape[0] * prod(module.kernel_size), -1)


def input_size(module: Convolution, size: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest input, without samples and channels, that a convolution makes one of this size of."""
    assert not isinstance(module.padding, str)
    back = isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d))
    found = []
    for d, length in enumerate(size):
        reach = module.dilation[d] * (module.kernel_size[d] - 1) + 1
        if back:
            found.append((length - module.output_padding[d] - reach + 2 * module.padding[d]) // module.stride[d] + 1)
        else:
            found.append((length - 1) * module.stride[d] + reach - 2 * module.padding[d])
    return tuple(found)


def first_layers(conv: ConvertedModel, recording: Recording) -> list[int]:
    """The layers without layers inside that have recorded outputs, in the order of the model."""
    leaf = leaf_indices(conv.layers)
    return [i for i in sorted(recording.outputs) if i in leaf]


def was_trained(conv: ConvertedModel) -> bool:
    """Was there a backward pass, after which the weights may have changed? A forward pass leaves no `gradInput`."""
    root = conv.layers[0].object
    found = (item.get("gradInput") for item in objects_in(root))
    return (
        any(tensor.numel() for value in found for tensor in _tensors_in(value))
        or counts_steps(conv)
        or were_written(gradients_of(root))
    )


def _tensors_in(value: Value) -> Iterator[Tensor]:
    """The tensors in a table, and in the tables in it, each of which is looked into once."""
    waiting, seen = [value], set[int]()
    while waiting:
        item = waiting.pop()
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, LuaTable) and id(item) not in seen:
            seen.add(id(item))
            waiting += [inner for _, inner in item.items()]
