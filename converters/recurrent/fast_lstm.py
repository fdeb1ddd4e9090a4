"""Package rnn: LSTM cells that compute what nn.LSTM of PyTorch does, their gates in another order."""

from __future__ import annotations

import torch
from torch import nn

from ...model.layer import Layer
from ...model.recurrent_state import Remembering
from ...model.registry import form_of, module_form
from ...onnx.operators.cells import OnnxStep, lstm_gates
from ...onnx.operators.recurrent import Packed
from ...t7 import LuaObject


class FastLSTM(Remembering):
    """An LSTM: one step of (N, D) or (D), or a whole sequence (T, N, D); the state lasts until `forget(module)`.

    Args:
        input_size: size of an entry.
        hidden_size: size of the output and of the cell.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.lstm = nn.LSTM(input_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = x.dim() == 3
        size = (*x.shape[1 if whole else 0 : -1], self.hidden_size)
        state = self.state and tuple(part.reshape(1, -1, self.hidden_size) for part in self.state)
        output, last = self.lstm(x if whole else x.reshape(1, -1, self.input_size), state)
        self.state = [part.reshape(size) for part in last]
        made: torch.Tensor = output if whole else output.reshape(size)
        return made


module_form("state names", FastLSTM)(("lstm", ("h", "c")))


@module_form("onnx", FastLSTM)
class OnnxFastLSTM(OnnxStep, FastLSTM):
    """As `FastLSTM`."""

    operator = "LSTM"

    @classmethod
    def put(cls, module: FastLSTM) -> None:
        module.packed = Packed("LSTM", module.hidden_size, module.lstm.all_weights)
        module.__class__ = cls


def fast_lstm(layer: Layer, cell: LuaObject) -> FastLSTM | None:
    """The layer that a cell is in whatever way it was built of small layers; None if it computes something else.

    Args:
        layer: the recurrent layer.
        cell: what it runs at each step.
    """
    size = layer.integer("outputSize")
    network, parts = layer.apart(cell, "1")
    if any(isinstance(part, nn.Dropout) and part.p > 0 for part in network.modules()):
        return None
    order = lstm_gates(network, size)
    matrices = [part for part in network.modules() if form_of("cell part", part) == "matrix"]
    if order is None or len(matrices) != 2:
        return None
    of_input, of_state = (parts[id(matrix)] for matrix in matrices)

    def ordered(rows: torch.Tensor) -> torch.Tensor:
        gates = rows.chunk(4)
        return torch.cat([gates[place] for place in order])

    module = layer.make(FastLSTM, of_input.tensor("weight").shape[1], size)
    for name, part in (("ih", of_input), ("hh", of_state)):
        part.put(module.lstm, f"weight_{name}_l0", ordered(part.tensor("weight")), field="weight")
        if part.has("bias"):
            part.put(module.lstm, f"bias_{name}_l0", ordered(part.tensor("bias")), field="bias")
        else:
            zeros = part.tensor("weight").new_zeros(4 * size, requires_grad=False)
            part.put(module.lstm, f"bias_{name}_l0", zeros)
    return module
