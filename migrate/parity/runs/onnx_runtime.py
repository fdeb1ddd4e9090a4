"""What runs the exported file: ONNX Runtime with a provider."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper

from ...base.errors import UsageError
from ...base.tensor_trees import leaves, moved, put
from ...model.conversion import ConvertedModel
from ...onnx.export.metadata import INPUTS_KEY, OUTPUTS_KEY, STATES_KEY
from ...onnx.passes.graph import PATH_KEY
from ...onnx.result import FIRST
from ...onnx.runtime import ask_session, open_session, run_session
from ...shapes.random_input import indexed_leaves
from ..judge.compare import Difference, Tolerance, compare
from ..judge.tolerances import Rules
from ..network_copies import copy_network
from ..trace import LayerRun, trace
from .layers import LayerResult
from .pytorch import Backend

_TYPES = {"tensor(float)": torch.float32, "tensor(double)": torch.float64, "tensor(float16)": torch.float16}

_REMARK = "an ONNX file shows its layers in the running network only, compared with PyTorch's here"


class OnnxRuntime(Backend):
    """ONNX Runtime on an exported file, which is opened once.

    Args:
        file: the ONNX file.
        device: "cpu", "cuda".
    """

    onnx = True
    decides = True

    def __init__(self, file: Path, device: str = "cpu") -> None:
        self.file = file
        self.gpu = device.startswith("cuda")
        self.provider = "CUDAExecutionProvider" if self.gpu else "CPUExecutionProvider"
        self.name = f"onnxruntime-{device}"
        self._session: Any = None

    def missing(self) -> str:
        return "" if self.provider in onnxruntime.get_available_providers() else f"ONNX Runtime has no {self.provider}"

    def session(self) -> Any:
        """The session, opened when it is first needed."""
        if self._session is None:
            self._session = open_session(self.file, self.provider)
        return self._session

    def dtype(self, conv: ConvertedModel) -> torch.dtype:
        """The type in which it computes: that of the file's floating inputs, outputs and weights."""
        session = self.session()
        types = {value.type for value in [*session.get_inputs(), *session.get_outputs()]}
        if "tensor(float16)" in types:
            return torch.float16
        return torch.float64 if types & {"tensor(double)"} and "tensor(float)" not in types else torch.float32

    def outputs(self, conv: ConvertedModel, value: Any) -> Any:
        session = self.session()
        found = ask_session(conv.answers, self.file, session, feeds_of(conv, session, value), self.provider)
        names = [item.name for item in session.get_outputs()]
        places = _places(session, OUTPUTS_KEY, "output")  # states are no part of what the model gives
        return _nested({name: tensor for name, tensor in zip(names, found, strict=True) if name in places}, places)

    def locate(self, conv: ConvertedModel, value: Any, rules: Rules) -> list[LayerResult]:
        """The layers of the file beside those of PyTorch, by the Torch7 paths that its nodes bear."""
        model = onnx.load(self.file)
        last = {}  # of each path: it gives what the layer gives
        for node in model.graph.node:
            for entry in node.metadata_props:
                if entry.key == PATH_KEY and node.output and node.output[0]:
                    last[entry.value] = node.output[0]
        known = {item.name for item in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted({*last.values()} - known))
        session = open_session(model.SerializeToString(), self.provider)
        names = [item.name for item in session.get_outputs()]
        values = dict(zip(names, run_session(session, feeds_of(conv, session, value)), strict=True))
        by_path = {path: values[name] for path, name in last.items()}
        return _beside(conv, value, by_path, rules.output(), weights_not_finite(model))

    def fixed_batch(self, batch: int) -> str:
        states = {FIRST, *_state_inputs(self.session())}
        own = [item.shape for item in self.session().get_inputs() if item.name not in states]
        fixed = [shape[0] for shape in own if shape and isinstance(shape[0], int)]
        return f"the ONNX file has a fixed batch of {fixed[0]}" if fixed and fixed[0] != batch else ""

    def close(self) -> None:
        self._session = None


def weights_not_finite(model: onnx.ModelProto) -> dict[str, str]:
    """What is wrong with the weights of an ONNX graph: NaN and Inf, by the Torch7 path of the node that reads them."""
    bad = {}
    for weight in model.graph.initializer:
        numbers = numpy_helper.to_array(weight)
        if np.issubdtype(numbers.dtype, np.floating) and not np.isfinite(numbers).all():
            bad[weight.name] = int((~np.isfinite(numbers)).sum())
    found = {}
    for node in model.graph.node:
        for name in node.input:
            if name in bad:
                path = next((entry.value for entry in node.metadata_props if entry.key == PATH_KEY), "")
                found[path] = f"the weight {name} of the ONNX file has {bad[name]} NaN or Inf"
    return found


def _beside(
    conv: ConvertedModel, value: Any, by_path: dict[str, torch.Tensor], tolerance: Tolerance, bad: dict[str, str]
) -> list[LayerResult]:
    """Runs the converted network, and compares the ONNX file's value of each layer as it goes."""
    network = copy_network(conv)
    found: list[LayerResult] = []

    def see(step: LayerRun) -> None:
        record = network.layers[step.index]
        theirs = by_path.get(record.path)
        comparable = isinstance(step.output, torch.Tensor) and theirs is not None
        if record.path not in bad and (not comparable or theirs.shape != step.output.shape or step.call > 1):  # type: ignore[union-attr]
            return
        sizes = [tuple(tensor.shape) for _, tensor in leaves(step.output)]
        result = LayerResult(
            record.path, record.typename, type(record.module).__name__, step.call, sizes, remark=_REMARK
        )
        if record.path in bad:
            result.accumulated = Difference("", False, bad[record.path], sizes[0] if sizes else ())
        else:
            (result.accumulated,) = compare(theirs, step.output, tolerance)
        found.append(result)

    trace(network, network.taken(value), see)
    return found


def feeds_of(conv: ConvertedModel, session: Any, value: Any) -> dict[str, torch.Tensor]:
    """The tensors of a nested input by the names and in the types that an exported file wants.

    Raises:
        UsageError: the file has inputs for which there is nothing.
    """
    given = moved(value)
    indexed = {id(tensor) for tensor, _ in indexed_leaves(conv, given)}
    wanted = {item.name: item.type for item in session.get_inputs()}
    places = {place: name for name, place in _places(session, INPUTS_KEY, "input").items()}
    feeds = {}
    for place, tensor in leaves(given):
        name = places.get(place)
        if name is not None and name in wanted:
            whole = id(tensor) in indexed or wanted[name] == "tensor(int64)"
            feeds[name] = tensor.long() if whole else tensor.to(_TYPES.get(wanted[name], tensor.dtype))
    feeds |= _fresh_states(session, feeds)
    if missing := sorted(set(wanted) - set(feeds)):
        raise UsageError(f"the ONNX file has inputs that were not given: {', '.join(missing)}")
    return feeds


def _state_inputs(session: Any) -> set[str]:
    """The inputs of a file that are states."""
    described = session.get_modelmeta().custom_metadata_map.get(STATES_KEY, "[]")
    return {one["input"] for one in json.loads(described)}


def _fresh_states(session: Any, feeds: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a file whose states are inputs is fed at the first run: zeros, and the word that it is the first."""
    if not (states := _state_inputs(session)):
        return {}
    inputs = {item.name: item for item in session.get_inputs()}
    axes = {
        axis: length
        for name, tensor in feeds.items()
        for axis, length in zip(inputs[name].shape, tensor.shape, strict=True)
        if isinstance(axis, str)
    }
    fresh = {}
    for name in states & set(inputs):
        sizes = [axes[size] if isinstance(size, str) else size for size in inputs[name].shape]
        fresh[name] = torch.zeros(sizes, dtype=_TYPES.get(inputs[name].type, torch.float32))
    return fresh | {name: torch.ones(1, dtype=torch.int64) for name in {FIRST} & set(inputs)}


def _places(session: Any, key: str, stem: str) -> dict[str, tuple[int, ...]]:
    """Name of an input or output -> its 1-based place in the nested value; by its name where the file does not say."""
    text = session.get_modelmeta().custom_metadata_map.get(key)
    if text is not None:
        return {name: tuple(place) for name, place in json.loads(text)}
    values = session.get_inputs() if stem == "input" else session.get_outputs()
    return {item.name: tuple(int(part) for part in item.name.split("_")[1:] if part.isdigit()) for item in values}


def _nested(outputs: dict[str, torch.Tensor], places: dict[str, tuple[int, ...]]) -> Any:
    """Nests outputs by their places."""
    root: list[Any] = []
    for name, tensor in outputs.items():
        if not places[name]:
            return tensor
        put(root, places[name], tensor)
    return root
