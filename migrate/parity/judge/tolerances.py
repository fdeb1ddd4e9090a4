"""Tolerances that follow from the type of the numbers, the depth of the network and the length of its sums."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...base.tensor_trees import leaves
from ...model.layer_record import LayerRecord
from ...t7 import LuaTable
from ..network_copies import leaf_indices
from .compare import Tolerance

#: Half the distance from 1 to the next number: the relative error of one rounding.
ROUNDING = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}

#: Roundings of a layer beside those of its sums: the function itself, a division, the reference's own.
_OF_A_LAYER = 128

#: A sum of n terms in another order differs by about sqrt(n) roundings; this many times that is allowed.
_OF_A_SUM = 2

#: Torch7 keeps some constants (eps, momentum, p) in single precision and adds others that PyTorch does not have.
_FLOAT64_FLOOR = 1e-9

#: Layers add to each other's errors like steps of a random walk; this many times that is allowed.
_OF_DEPTH = 0.5

#: So many times the rounding noise of a slice is allowed where its own numbers allow less.
_ROUNDINGS = 2

#: Of constants in single precision such a slice feels this part.
_OF_THE_FLOOR = 8

#: Nothing looser than this is ever called equal.
_LOOSEST = {torch.float64: 1e-7, torch.float32: 1e-3, torch.float16: 1e-1, torch.bfloat16: 3e-1}

#: GPU libraries choose among algorithms (Winograd, FFT) whose sums differ in more than their order.
_GPU = 8

#: ONNX Runtime fuses operators, so that intermediate results are never rounded, or rounded elsewhere.
_ONNX = 2


@dataclass(frozen=True)
class Rules:
    """The tolerances of one comparison of a backend with a reference.

    Attributes:
        dtype: type of the coarser of the two runs.
        fan_in: terms of the longest sum in the network.
        depth: layers that compute something new from their input.
        operands: the most tensors that a layer adds one after the other.
        onnx: was it ONNX Runtime that ran?
        gpu: did a GPU compute one of the two?
        atol: absolute tolerances given by the user, by the place of an output such as `[2]`; "" is for all others.
        rtol: relative tolerances, likewise.
    """

    dtype: torch.dtype
    fan_in: int = 1
    depth: int = 1
    operands: int = 0
    onnx: bool = False
    gpu: bool = False
    atol: Mapping[str, float] = field(default_factory=dict)
    rtol: Mapping[str, float] = field(default_factory=dict)

    def output(self, place: str = "") -> Tolerance:
        """The tolerance of an output of the whole network."""
        if given := self._given(place):
            return given
        return self._derived(self.fan_in, self.depth, self.operands)

    def layer(self, record: LayerRecord, operands: int = 0) -> Tolerance:
        """The tolerance of what one layer computes from the reference's own input.

        Args:
            record: the layer.
            operands: how many tensors it adds one after the other, where these are many.
        """
        return self._given("") or self._derived(fan_in_of(record), 1, operands)

    def gradient(self) -> Tolerance:
        """The tolerance of a gradient: back and forth is twice the depth."""
        return self._given("") or self._derived(self.fan_in, 2 * self.depth, self.operands)

    def _given(self, place: str) -> Tolerance | None:
        atol, rtol = (given.get(place, given.get("")) for given in (self.atol, self.rtol))
        if atol is None and rtol is None:
            return None
        return Tolerance(atol or 0.0, rtol or 0.0, False, "given by the user")

    def _derived(self, fan_in: int, depth: int, operands: int = 0) -> Tolerance:
        unit = ROUNDING[self.dtype]
        name = str(self.dtype).removeprefix("torch.")
        roundings = _OF_A_LAYER + _OF_A_SUM * math.sqrt(fan_in)
        reason = (
            f"{name} rounds to {unit:.2g}; {_OF_A_LAYER} roundings of a layer + {_OF_A_SUM}*sqrt({fan_in}) of its "
            f"longest sum"
        )
        if operands > _OF_A_LAYER:
            roundings += operands / 2  # of equal operands all roundings may go the same way
            reason += f", {operands}/2 of as many operands one after the other"
        if depth > 1:
            roundings *= 1 + _OF_DEPTH * math.sqrt(depth)
            reason += f", times 1 + {_OF_DEPTH}*sqrt({depth}) for the depth"
        for applies, factor, why in (
            (self.gpu, _GPU, "a GPU's choice of algorithms"),
            (self.onnx and self.dtype == torch.float32, _ONNX, "ONNX Runtime's fused operators"),
        ):
            if applies:
                roundings *= factor
                reason += f", times {factor} for {why}"
        found = roundings * unit
        if self.dtype == torch.float64 and found < _FLOAT64_FLOOR:
            found, reason = _FLOAT64_FLOOR, f"{reason}; at least {_FLOAT64_FLOOR:g}, since Torch7 rounds some constants"
        if found > _LOOSEST[self.dtype]:
            found, reason = _LOOSEST[self.dtype], f"{reason}; at most {_LOOSEST[self.dtype]:g}"
        rounding = _ROUNDINGS * unit * (_GPU if self.gpu else 1)
        rounding *= _ONNX if self.onnx and self.dtype == torch.float32 else 1
        if self.dtype == torch.float64:
            rounding = max(rounding, _FLOAT64_FLOOR / _OF_THE_FLOOR)
        reason += "; of the largest number of each slice, such as a channel, or of what rounding before it makes of it"
        return Tolerance(float(f"{found:.2g}"), 0.0, True, reason, rounding)


def fan_in_of(record: LayerRecord) -> int:
    """How many terms the longest sum in a layer has, as far as its weights tell; 1 without weights."""
    weights = [weight for weight in record.module.parameters() if weight.dim() > 1 and weight.shape[0]]
    return max([1, *(weight.numel() // weight.shape[0] for weight in weights)])  # their outputs come first


def operands_of(layers: Sequence[LayerRecord], value: Any) -> int:
    """How many tensors a layer may get at once, if any layer adds or multiplies what it gets; 0 if none does.

    Args:
        layers: of the network.
        value: its input.
    """
    if all(record.traits.flow != "operands" for record in layers):
        return 0
    children = [record.object.get("modules") for record in layers if record.traits.flow in ("branches", "entries")]
    return max([len(list(leaves(value))), *(len(each) for each in children if isinstance(each, LuaTable))])


def depth_of(layers: Sequence[LayerRecord]) -> int:
    """How many layers compute something: those without layers inside."""
    return max(len(leaf_indices(layers)), 1)


def coarser(*dtypes: torch.dtype) -> torch.dtype:
    """The type with the fewest digits."""
    order = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
    return min((dtype for dtype in dtypes if dtype in order), key=order.index, default=torch.float64)
