"""What an export gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: The input that says whether a run is the first, where a first run is not one that goes on from zeros.
FIRST = "is_first"


@dataclass(frozen=True)
class Quantized:
    """The dynamically quantized variant of an exported file.

    Attributes:
        path: the file.
        size: of it, in bytes.
        difference: from PyTorch's float32, the largest, relative to the largest output. It is information, no verdict.
        mean_difference: the mean of the same.
        snr_db: signal-to-noise ratio in decibels; None where there is no noise.
        notes: what users should know.
    """

    path: Path
    size: int
    difference: float
    mean_difference: float
    snr_db: float | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "file": self.path.name,
            "size": self.size,
            "difference": self.difference,
            "mean_difference": self.mean_difference,
            "snr_db": self.snr_db,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class OnnxExport:
    """An ONNX file that was written and checked.

    Attributes:
        path: the file.
        opset: the opset that the file declares.
        inputs: name -> sizes; a dynamic one is a name such as "batch".
        outputs: the same of the outputs.
        nodes: ONNX node -> Torch7 path of the layer that it comes from.
        max_difference: the largest difference between ONNX Runtime and PyTorch, relative to the largest output.
        batches: the batch sizes at which the two were compared.
        runs: the sizes of every input of each run that was compared.
        external: the file of the weights, where they are not in `path` itself.
        int8: the quantized variant, where it was asked for.
        states: of `stateful=True`: for each state its `input`, its `output`, and the Torch7 path of its `layer`.
        notes: what users should know.
    """

    path: Path
    opset: int
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    nodes: dict[str, str] = field(repr=False)
    max_difference: float
    batches: tuple[int, ...]
    runs: tuple[dict[str, tuple[int, ...]], ...] = field(default=(), repr=False)
    external: Path | None = None
    int8: Quantized | None = None
    states: tuple[dict[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "file": self.path.name,
            "external_data": None if self.external is None else self.external.name,
            "opset": self.opset,
            "inputs": {name: list(sizes) for name, sizes in self.inputs.items()},
            "outputs": {name: list(sizes) for name, sizes in self.outputs.items()},
            "nodes": len(self.nodes),
            "max_difference": self.max_difference,
            "batches": list(self.batches),
            "runs": [{name: list(sizes) for name, sizes in run.items()} for run in self.runs],
            "int8": None if self.int8 is None else self.int8.to_json(),
            "states": list(self.states),
            "notes": list(self.notes),
        }
