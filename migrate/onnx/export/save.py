"""Writes a graph whose weights stay where they are until they are in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from ...base.errors import UsageError
from ...base.output_file import check_file, scratch_folder, whole_file

#: Weights of at least so many bytes stay out of the graph until it is written.
_LARGE = 4096

#: Larger graphs have their weights in a second file by default: one file takes three more copies of them in memory.
_LARGE_FILE = 1 << 28

#: A protobuf file can't be larger.
LARGEST_FILE = (1 << 31) - 1


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
        return self._with({name: self._tensor(name) for name in self.weights})

    def with_data(self, folder: Path, name: str) -> onnx.ModelProto:
        """The graph with its large weights in a file of that name, which is written into the folder."""
        tensors = [self._tensor(weight) for weight in self.weights]
        stored = ir.external_data.convert_tensors_to_external(tensors, folder, name)
        return self._with(dict(zip(self.weights, stored, strict=True)))

    def _tensor(self, name: str) -> ir.TensorProtocol:
        return ir.Tensor(self.weights[name], name=name)

    def _with(self, tensors: Mapping[str, ir.TensorProtocol]) -> onnx.ModelProto:
        """The graph with these tensors in the place of those without numbers."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for tensor in model.graph.initializer:
            if (name := tensor.name) in tensors:
                tensor.Clear()
                ir.serde.serialize_tensor_into(tensor, tensors[name])
        return model

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


def is_external(stored: Stored, external: bool | None) -> bool:
    """Are the weights put into a second file? None: those of more than 256 MB."""
    wanted = stored.size > _LARGE_FILE if external is None else external
    return wanted and bool(stored.weights)


def write(
    stored: Stored, path: Path, *, external: bool | None, force: bool, check: Callable[[Path], None] | None = None
) -> Path | None:
    """Writes a graph; the files take their names when both are whole.

    Args:
        stored: the graph and its weights.
        path: of the file; its folder is made.
        external: put the weights into a second file, `path` with `.data` appended? None: those of more than 256 MB.
        force: replace existing files.
        check: is shown a file that holds its weights before it takes its name; if it raises, nothing is written.

    Returns:
        The second file, or None.

    Raises:
        UsageError: it is too large for one file, a file exists and `force` is not set, or it can't be written.
    """
    data = path.with_name(path.name + ".data")
    if not is_external(stored, external):
        if stored.size > LARGEST_FILE:
            raise UsageError(f"{path.name} would have {stored.size} bytes; an ONNX file has {LARGEST_FILE} at most.")
        left = _belongs(data, path)
        with whole_file(path, force=force) as part:
            part.write_bytes(stored.whole().SerializeToString(deterministic=True))
            if check is not None:
                check(part)
        if left:
            data.unlink()
        return None
    check_file(data, force=force)
    with whole_file(path, force=force) as part, whole_file(data, force=force) as data_part:
        with scratch_folder(path) as folder:
            model = stored.with_data(folder, data.name)
            Path(folder, data.name).replace(data_part)
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
