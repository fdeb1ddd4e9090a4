"""The cells of package rnn's recurrent layers as ONNX's LSTM and GRU operators, where the two are shown to be equal.

A file holds a cell as a network of small layers. Its matrices give the operator's weights; which of its gates is which
is found by trial: the operator's formula must answer as the cell does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from ...model.registry import form_of
from .recurrent import Packed, as_list, like
from .stand_ins import StandIn


@dataclass(frozen=True)
class _Gates:
    """The numbers of each gate, one entry a gate.

    Attributes:
        inputs: matrices for the input, (H, D).
        states: matrices for the output before, (H, H).
        biases: (H).
        peepholes: how a gate sees the cell, (H); zeros where it does not.
    """

    inputs: list[torch.Tensor]
    states: list[torch.Tensor]
    biases: list[torch.Tensor]
    peepholes: list[torch.Tensor]

    def ordered(self, order: Sequence[int]) -> _Gates:
        """The same gates in another order."""
        return _Gates(*([field[gate] for gate in order] for field in vars(self).values()))

    def double(self) -> _Gates:
        """The same numbers in float64."""
        return _Gates(*([tensor.double() for tensor in field] for field in vars(self).values()))

    def sums(self, x: torch.Tensor, h: torch.Tensor) -> list[torch.Tensor]:
        """What each gate gets of the input and the output before."""
        parts = zip(self.inputs, self.states, self.biases, strict=True)
        return [linear(x, w, b) + linear(h, r) for w, r, b in parts]


def _lstm(gates: _Gates, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> list[torch.Tensor]:
    """ONNX's LSTM, whose gates stand in PyTorch's order: input, forget, cell, output."""
    i, f, g, o = gates.sums(x, h)
    see_i, see_f, _, see_o = gates.peepholes
    after = torch.sigmoid(f + see_f * c) * c + torch.sigmoid(i + see_i * c) * torch.tanh(g)
    return [torch.sigmoid(o + see_o * after) * torch.tanh(after), after]


def _gru(gates: _Gates, x: torch.Tensor, h: torch.Tensor) -> list[torch.Tensor]:
    """ONNX's GRU with linear_before_reset = 0, whose gates stand in PyTorch's order: reset, update, new."""
    r, z, _ = gates.sums(x, h)
    r, z = torch.sigmoid(r), torch.sigmoid(z)
    new = torch.tanh(linear(x, gates.inputs[2], gates.biases[2]) + linear(r * h, gates.states[2]))
    return [(1 - z) * new + z * h]


#: Operator -> its gates, its states, and what it computes.
_FORMULAS: dict[str, tuple[int, int, Callable[..., list[torch.Tensor]]]] = {"LSTM": (4, 2, _lstm), "GRU": (3, 1, _gru)}


def _gates_of(cell: nn.Module, size: int) -> _Gates | None:
    """The gates in the order in which the cell holds them; None where its matrices are no gates.

    Each part must have the form "cell part": "matrix", two for each gate; "peephole", how a gate sees the cell; or
    "function", without weights.
    """
    found = _Gates([], [], [], [])
    matrices: list[Any] = []
    part: Any
    for part in cell.modules():
        role = form_of("cell part", part)
        if role is None:  # others, such as masks, may differ on inputs that no trial meets
            return None
        matrices += [part] * (role == "matrix")
        if role == "matrix" and len(matrices) % 2 == 0:
            of_input, of_state = matrices[-2:]
            count, left = divmod(of_input.out_features, size)
            if left or of_state.weight.shape != (count * size, size):
                return None
            biases = [matrix.bias for matrix in (of_input, of_state) if matrix.bias is not None]
            bias = sum(biases, of_input.weight.new_zeros(count * size))
            found.inputs.extend(of_input.weight.chunk(count))
            found.states.extend(of_state.weight.chunk(count))
            found.biases.extend(bias.chunk(count))
            found.peepholes.extend(bias.new_zeros(count, size))
        if role == "peephole":
            if part.weight.numel() != size or not found.peepholes or len(matrices) % 2:
                return None
            found.peepholes[-1] = part.weight.reshape(-1)
    widths = {weight.shape[1] for weight in found.inputs}
    return found if len(widths) == 1 and len(matrices) % 2 == 0 else None


def _recognized(
    cell: nn.Module, size: int, count: int, states: int, formula: Callable[..., list[torch.Tensor]]
) -> _Gates | None:
    """The gates of a cell in the order in which `formula` answers as the cell does; None if it does in none."""
    found = _order(cell, size, count, states, formula)
    return None if found is None else found[0].ordered(found[1])


def _order(
    cell: nn.Module, size: int, count: int, states: int, formula: Callable[..., list[torch.Tensor]]
) -> tuple[_Gates, tuple[int, ...]] | None:
    """The gates of a cell, and the order in which `formula` answers as the cell does; None if it does in none."""
    gates = _gates_of(cell, size)
    if gates is None or len(gates.inputs) != count:
        return None
    exact, trial = copy.deepcopy(cell).double(), gates.double()
    generator = torch.Generator().manual_seed(0)
    values = [
        torch.randn(5, n, generator=generator, dtype=torch.float64)
        for n in (gates.inputs[0].shape[1], *[size] * states)
    ]
    values = [torch.cat([value, 30 * value, torch.zeros_like(value[:1])]) for value in values]
    with torch.no_grad():
        try:
            answer = exact(list(values))
        except Exception:  # whatever a cell raises that is built otherwise
            return None
        wanted = [answer] if isinstance(answer, torch.Tensor) else answer
        sizes = [(len(values[0]), size)] * states
        if not isinstance(wanted, list) or [getattr(item, "shape", None) for item in wanted] != sizes:
            return None
        for order in permutations(range(count)):
            got = formula(trial.ordered(order), *values)
            if all(torch.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in zip(got, wanted, strict=True)):
                return gates, order
    return None


def lstm_gates(cell: nn.Module, size: int) -> tuple[int, ...] | None:
    """Where a cell that computes what nn.LSTM does has the input, forget, cell and output gate; None: it does not.

    Args:
        cell: turns [x, output, cell] into the next [output, cell].
        size: of the output and of the cell.
    """
    if any(form_of("cell part", part) in (None, "peephole") for part in cell.modules()):
        return None
    trial = copy.deepcopy(cell).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # of its own numbers several orders may be right
        for parameter in trial.parameters():
            numbers = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_((2 * numbers - 1) / parameter.shape[-1] ** 0.5)
    found = _order(trial, size, *_FORMULAS["LSTM"])
    return None if found is None else found[1]


class OnnxStep(StandIn):
    """What the steps share whose cell is an operator: a sequence (T, N, D) is taken as a whole."""

    operator: str
    packed: Packed
    state: Any

    @classmethod
    def put(cls, module: Any) -> None:
        gates = _recognized(module.module, module.hidden_size, *_FORMULAS[cls.operator])
        if gates is None or module.initial_size:
            return
        weights = [torch.cat(numbers) for numbers in (gates.inputs, gates.states, gates.biases)]
        peepholes = None
        if any(bool(numbers.any()) for numbers in gates.peepholes):
            see_i, see_f, _, see_o = gates.peepholes
            peepholes = torch.cat([see_i, see_o, see_f]).detach().unsqueeze(0)
        module.packed = Packed(cls.operator, module.hidden_size, [weights], peepholes=peepholes)
        super().put(module)

    def forward(self, x: torch.Tensor) -> Any:
        if x.dim() != 3:
            return super().forward(x)
        before = as_list(self.state)
        y, *last = self.packed(x, *(state.reshape(1, -1, state.shape[-1]) for state in before))
        if before:
            pairs = zip(last, before, strict=True)
            self.state = like(self.state, [after.reshape(state.shape) for after, state in pairs])
        return y
