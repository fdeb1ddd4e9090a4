"""What runs the converted model: PyTorch on a device, ONNX Runtime with a provider."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import onnxruntime
import torch

from ..conversion import Conversion
from ..errors import UsageError
from ..nested import leaves, moved
from ..onnx_runtime import open_session, run_session
from ..shapes import floating_type, indexed_leaves, run
from .layers import LayerResult, compare_layers
from .references import Reference, copy_record
from .tolerances import coarser, tolerance_for


class Backend(Protocol):
    """Something that can run the converted model.

    Attributes:
        name: as the report shows it.
        onnx: does it run the ONNX file?
    """

    name: str
    onnx: bool

    def missing(self) -> str:
        """Why it can't run here; "" if it can."""

    def dtype(self, conv: Conversion) -> torch.dtype:
        """The type in which it computes."""

    def outputs(self, conv: Conversion, value: Any) -> Any:
        """What the model answers, on the CPU."""

    def layers(self, conv: Conversion, reference: Reference) -> list[LayerResult]:
        """How its layers compare; [] where they can't be seen."""


class PyTorch:
    """PyTorch on a device, in the type of the model's weights."""

    onnx = False

    def __init__(self, device: str) -> None:
        self.device = device
        self.name = f"pytorch-{device}"

    def missing(self) -> str:
        """Why it can't run here; "" if it can."""
        kind = torch.device(self.device).type
        if kind == "cuda" and not torch.cuda.is_available():
            return "no CUDA device was found"
        if kind == "cuda" and (torch.device(self.device).index or 0) >= torch.cuda.device_count():
            return f"there are {torch.cuda.device_count()} CUDA devices"
        return ""

    def dtype(self, conv: Conversion) -> torch.dtype:
        """The type in which it computes."""
        return floating_type(conv.module)

    def outputs(self, conv: Conversion, value: Any) -> Any:
        """What the model answers, on the CPU."""
        module = copy.deepcopy(conv.module).eval().to(self.device)
        with torch.no_grad(), exact_float32():
            return moved(run(module, moved(value, self.dtype(conv), self.device)))

    def layers(self, conv: Conversion, reference: Reference) -> list[LayerResult]:
        """How its layers compare with the reference's."""
        memo: dict[int, Any] = {}
        module = copy.deepcopy(conv.module, memo).eval().to(self.device)
        copies = [copy_record(record, memo) for record in conv.layers]
        dtype = self.dtype(conv)
        tolerance = tolerance_for(coarser(dtype, reference.dtype))
        with exact_float32():
            return compare_layers(copies, module, moved(reference.input, dtype, self.device), reference, tolerance)


class OnnxRuntime:
    """ONNX Runtime on an exported file."""

    onnx = True

    def __init__(self, file: Path, device: str = "cpu") -> None:
        self.file = file
        self.provider = "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"
        self.name = f"onnxruntime-{device}"

    def missing(self) -> str:
        """Why it can't run here; "" if it can."""
        return "" if self.provider in onnxruntime.get_available_providers() else f"ONNX Runtime has no {self.provider}"

    def dtype(self, conv: Conversion) -> torch.dtype:
        """The type in which it computes: that of the file's floating inputs, outputs and weights."""
        session = open_session(self.file, self.provider)
        types = {value.type for value in [*session.get_inputs(), *session.get_outputs()]}
        return torch.float64 if types & {"tensor(double)"} and "tensor(float)" not in types else torch.float32

    def outputs(self, conv: Conversion, value: Any) -> Any:
        """What the file answers, nested as the model's output is."""
        session = open_session(self.file, self.provider)
        feeds = feeds_of(conv, session, value)
        found = run_session(session, feeds)
        names = [item.name for item in session.get_outputs()]
        return _nested(dict(zip(names, found, strict=True)))

    def layers(self, conv: Conversion, reference: Reference) -> list[LayerResult]:
        """None: an ONNX file shows its ends only."""
        return []


def feeds_of(conv: Conversion, session: Any, value: Any) -> dict[str, torch.Tensor]:
    """The tensors of a nested input by the names and in the types that an exported file wants.

    Raises:
        UsageError: the file has inputs for which there is nothing.
    """
    given = moved(value)
    indexed = {id(tensor) for tensor, _ in indexed_leaves(conv, given)}
    wanted = {item.name: item.type for item in session.get_inputs()}
    feeds = {}
    for place, tensor in leaves(given):
        name = "_".join(["input", *map(str, place)])
        if name in wanted:
            whole = id(tensor) in indexed or wanted[name] == "tensor(int64)"
            feeds[name] = tensor.long() if whole else tensor.to(_TYPES.get(wanted[name], tensor.dtype))
    if missing := sorted(set(wanted) - set(feeds)):
        raise UsageError(f"the ONNX file has inputs that were not given: {', '.join(missing)}")
    return feeds


_TYPES = {"tensor(float)": torch.float32, "tensor(double)": torch.float64, "tensor(float16)": torch.float16}


def _nested(outputs: dict[str, torch.Tensor]) -> Any:
    """Nests outputs by their names: `output`, or `output_1`, `output_2_1`."""
    if list(outputs) == ["output"]:
        return outputs["output"]
    root: list[Any] = []
    for name, tensor in outputs.items():
        place = [int(part) for part in name.split("_")[1:]]
        items = root
        for i in place[:-1]:
            while len(items) < i:
                items.append([])
            items = items[i - 1]
        items.append(tensor)
    return root


@contextmanager
def exact_float32() -> Iterator[None]:
    """Switches TF32 off on CUDA, and back to what it was."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
