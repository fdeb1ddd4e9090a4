"""Layer by layer: the error that each layer makes by itself, and the error that has come together up to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..build import LayerRecord
from ..nested import leaves
from ..shapes import run
from .compare import Difference, Tolerance, compare
from .references import Reference, Summary, cast_like
from .trace import watched


@dataclass
class LayerResult:
    """How one run of one layer compares with the reference.

    Attributes:
        path: its Torch7 path.
        typename: its Torch7 class.
        module: class of the PyTorch module.
        call: which run of the layer, 1-based.
        shape: sizes of its output, one per tensor.
        own: its own error, on the reference's input; None if the reference's input is not known.
        accumulated: its error in the running network.
    """

    path: str
    typename: str
    module: str
    call: int
    shape: list[tuple[int, ...]]
    own: Difference | None = None
    accumulated: Difference | None = None

    @property
    def passed(self) -> bool:
        """Is its own error within the tolerance?"""
        return self.own is None or self.own.passed

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "path": self.path,
            "class": self.typename,
            "module": self.module,
            "call": self.call,
            "shape": [list(sizes) for sizes in self.shape],
            "own": None if self.own is None else self.own.to_json(),
            "accumulated": None if self.accumulated is None else self.accumulated.to_json(),
        }


def compare_layers(
    layers: Sequence[LayerRecord], module: nn.Module, value: Any, reference: Reference, tolerance: Tolerance
) -> list[LayerResult]:
    """Runs `module` twice: as it is, and with each layer's output replaced by the reference's as soon as it is known.

    In the second run each layer gets the reference's own input, so that its error is its own.

    Args:
        layers: the converted layers, whose modules are those of `module`, in the order of the conversion.
        module: the network.
        value: its input, on its device and in its type.
        reference: what to compare with.
        tolerance: for every layer, relative to the layer's largest output.
    """
    index = {id(record): i for i, record in enumerate(layers)}
    found: dict[tuple[int, int], LayerResult] = {}

    def result(record: LayerRecord, call: int, output: Any) -> LayerResult:
        key = index[id(record)], call
        if key not in found:
            sizes = [tuple(tensor.shape) for _, tensor in leaves(output)]
            found[key] = LayerResult(record.path, record.typename, type(record.module).__name__, call, sizes)
        return found[key]

    def accumulate(record: LayerRecord, call: int, output: Any) -> None:
        expected = reference.layers.get((index[id(record)], call))
        if expected is not None:
            result(record, call, output).accumulated = _worst(output, expected, tolerance)

    def replace(record: LayerRecord, call: int, output: Any) -> Any:
        expected = reference.layers.get((index[id(record)], call))
        if expected is None:
            return None
        result(record, call, output).own = _worst(output, expected, tolerance)
        return None if isinstance(expected, Summary) else cast_like(expected, output)

    with torch.no_grad():
        with watched(layers, module, accumulate):
            run(module, value)
        with watched(layers, module, replace):
            run(module, value)
    return list(found.values())


def _worst(output: Any, expected: Any, tolerance: Tolerance) -> Difference:
    if isinstance(expected, Summary):
        return _compare_summary(output, expected, tolerance)
    found = compare(output, expected, tolerance)
    if not found:
        return Difference("", True, "", ())
    failed = [difference for difference in found if not difference.passed]
    return failed[0] if failed else max(found, key=_relative)


def _relative(difference: Difference) -> float:
    return difference.max_abs / difference.largest if difference.largest else difference.max_abs


def _compare_summary(output: Any, expected: Summary, tolerance: Tolerance) -> Difference:
    """Compares the first elements, the mean and the deviation, all relative to the size that the numbers have."""
    tensors = [tensor for _, tensor in leaves(output)]
    if len(tensors) != 1 or tuple(tensors[0].shape) != expected.size:
        sizes = [tuple(tensor.shape) for tensor in tensors]
        return Difference("", False, f"its shape is {sizes}, the reference's {expected.size}", expected.size)
    numbers = tensors[0].detach().cpu().double().reshape(-1)
    known = torch.cat([expected.head.double(), torch.tensor([expected.mean, expected.std], dtype=torch.float64)])
    ours = torch.cat([numbers[: len(expected.head)], torch.stack([numbers.mean(), numbers.std()])])
    return compare(ours, known, tolerance)[0]


def first_diverging(layers: Sequence[LayerResult]) -> LayerResult | None:
    """The first layer whose own error is too large, else the first whose accumulated error is."""
    for layer in layers:
        if not layer.passed:
            return layer
    return next((layer for layer in layers if layer.accumulated is not None and not layer.accumulated.passed), None)
