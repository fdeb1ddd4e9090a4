"""Writes a graph whose weights stay where they are: each goes straight from its tensor to the file.

A protobuf message is the concatenation of its fields, so a file can be written without the message ever being whole.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import onnx_ir as ir

from ..base.files import whole_file

#: Weights of at least so many bytes stay out of the graph until it is written.
_LARGE = 4096

#: A protobuf file can't be larger.
LARGEST_FILE = (1 << 31) - 1

_ALIGNMENT = 4096

#: Field numbers of onnx.proto: ModelProto.graph, GraphProto.initializer, TensorProto.raw_data.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_BYTES = 2


@dataclass(frozen=True)
class Stored:
    """A graph, and the numbers of the weights that are not in it.

    Attributes:
        model: the graph; its large weights have no numbers.
        weights: name -> numbers, in the order of the graph.
    """

    model: onnx.ModelProto
    weights: Mapping[str, np.ndarray[Any, Any]]

    @property
    def size(self) -> int:
        """How many bytes it takes, about."""
        return int(self.model.ByteSize()) + sum(numbers.nbytes for numbers in self.weights.values())

    def whole(self) -> onnx.ModelProto:
        """The graph with all its weights in it, below 2 GB."""
        stream = io.BytesIO()
        _write_whole(self, stream)
        made = onnx.ModelProto()
        made.ParseFromString(stream.getvalue())
        return made

    def with_inputs(self, minimum: int = 0) -> tuple[onnx.ModelProto, dict[str, np.ndarray[Any, Any]]]:
        """The graph with the weights of at least `minimum` bytes as inputs of it, and these weights."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        moved = {name: numbers for name, numbers in self.weights.items() if numbers.nbytes >= minimum}
        kept = [tensor for tensor in model.graph.initializer if tensor.name not in moved]
        for tensor in model.graph.initializer:
            if tensor.name in moved:
                value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
                model.graph.input.append(value)
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        return model, moved


def store(model: ir.Model) -> Stored:
    """Takes the large weights out of a graph; their numbers are not copied, but where they are transposed."""
    weights: dict[str, np.ndarray[Any, Any]] = {}
    originals: dict[str, Any] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes < _LARGE:
            continue
        # ONNX Runtime uses them where they lie, which it can only in the order of the file
        weights[name] = np.ascontiguousarray(tensor.numpy())
        originals[name] = tensor
        value.const_value = ir.ExternalTensor(
            "weights", 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name
        )
    try:
        proto: onnx.ModelProto = ir.to_proto(model)
    finally:
        for name, tensor in originals.items():
            model.graph.initializers[name].const_value = tensor
    return Stored(proto, weights)


def write(stored: Stored, path: Path, *, external: bool) -> Path | None:
    """Writes a graph; the files take their names when both are whole.

    Args:
        stored: the graph and its weights.
        path: of the file; its folder is made.
        external: put the weights into a second file, `path` with `.data` appended.

    Returns:
        The second file, or None.
    """
    data = path.with_name(path.name + ".data")
    if not external or not stored.weights:
        left = _belongs(data, path)
        with whole_file(path) as part, part.open("wb") as stream:
            _write_whole(stored, stream)
        if left:
            data.unlink()
        return None
    model = onnx.ModelProto()
    model.CopyFrom(stored.model)
    with whole_file(path) as part, whole_file(data) as data_part, data_part.open("wb") as stream:
        for tensor in model.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                stream.write(bytes(-stream.tell() % _ALIGNMENT))
                _locate(tensor, data.name, stream.tell(), stored.weights[tensor.name].nbytes)
                stream.write(_raw(stored.weights[tensor.name]))
        part.write_bytes(model.SerializeToString(deterministic=True))
    return data


def _belongs(data: Path, path: Path) -> bool:
    """Does a file of weights belong to the graph in another file, which is about to be replaced?"""
    if not data.is_file() or not path.is_file():
        return False
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:
        return False  # it is no ONNX file
    entries = [entry for tensor in model.graph.initializer for entry in tensor.external_data]
    return any((entry.key, entry.value) == ("location", data.name) for entry in entries)


def _locate(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))


def _raw(numbers: np.ndarray[Any, Any]) -> memoryview:
    """The bytes of an array as ONNX wants them."""
    little = np.ascontiguousarray(numbers, dtype=numbers.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _write_whole(stored: Stored, stream: BinaryIO) -> None:
    """Writes the bytes that `SerializeToString` would give for the model with its weights."""
    model, graph = onnx.ModelProto(), onnx.GraphProto()
    model.CopyFrom(stored.model)
    graph.CopyFrom(stored.model.graph)
    tensors = list(graph.initializer)
    heads = [_head(tensor, stored.weights) for tensor in tensors]
    sizes = [len(head) + _raw_size(tensor, stored.weights) for head, tensor in zip(heads, tensors, strict=True)]
    model.ClearField("graph")
    graph.ClearField("initializer")
    before, after = _split(model, _GRAPH)
    first, last = _split(graph, _INITIALIZER)
    total = len(first) + len(last) + sum(len(_tag(_INITIALIZER, size)) + size for size in sizes)
    stream.write(before + _tag(_GRAPH, total) + first)
    for tensor, head, size in zip(tensors, heads, sizes, strict=True):
        stream.write(_tag(_INITIALIZER, size) + head)
        if tensor.name in stored.weights:
            stream.write(_raw(stored.weights[tensor.name]))
    stream.write(last + after)


def _head(tensor: onnx.TensorProto, weights: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """The fields of a tensor, up to its numbers where these are not in it."""
    if tensor.name not in weights:
        return bytes(tensor.SerializeToString(deterministic=True))
    plain = onnx.TensorProto()
    plain.CopyFrom(tensor)
    plain.ClearField("external_data")
    plain.ClearField("data_location")
    return bytes(plain.SerializeToString(deterministic=True)) + _tag(_RAW_DATA, weights[tensor.name].nbytes)


def _raw_size(tensor: onnx.TensorProto, weights: Mapping[str, np.ndarray[Any, Any]]) -> int:
    return weights[tensor.name].nbytes if tensor.name in weights else 0


def _split(message: Any, field: int) -> tuple[bytes, bytes]:
    """The serialized fields of a message before and behind a field number."""
    before, after = type(message)(), type(message)()
    before.CopyFrom(message)
    after.CopyFrom(message)
    for descriptor in message.DESCRIPTOR.fields:
        (after if descriptor.number < field else before).ClearField(descriptor.name)
    return before.SerializeToString(deterministic=True), after.SerializeToString(deterministic=True)


def _tag(field: int, length: int) -> bytes:
    """How protobuf announces a field of so many bytes."""
    return _varint(field << 3 | _BYTES) + _varint(length)


def _varint(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
