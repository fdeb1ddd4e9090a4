"""Layers of jcjohnson/torch-rnn over a sequence (N, T, D), and their ONNX operators."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ....model.recurrent_state import Remembering
from ....model.registry import module_form
from ....onnx.operators.recurrent import OnnxSequence, Packed
from ...recurrent.sequences import OnnxSeqLSTM, SeqLSTM, sequence_length, stock_lstm


class SequenceLSTM(SeqLSTM):
    """An LSTM over a sequence whose state, if it remembers one, lasts also when the mode changes."""

    def train(self, mode: bool = True) -> SequenceLSTM:
        nn.Module.train(self, mode)
        return self


module_form("recurrent", SequenceLSTM)(stock_lstm)
module_form("sequence length", SequenceLSTM)(sequence_length)
module_form("state names", SequenceLSTM)(("lstm", ("h", "c")))


@module_form("onnx", SequenceLSTM)
class OnnxSequenceLSTM(OnnxSeqLSTM, SequenceLSTM):
    """As `SequenceLSTM`."""


class VanillaRNN(Remembering):
    """A simple recurrent layer with tanh over a sequence (N, T, D); also takes [h0, x].

    Args:
        input_size: size of an entry of the sequence.
        hidden_size: size of the output.
        remember: the state lasts from one call to the next.
    """

    def __init__(self, input_size: int, hidden_size: int, remember: bool = False) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.remember = remember
        self.rnn = nn.RNN(input_size, hidden_size, batch_first=True)

    def forward(self, x: Any) -> torch.Tensor:
        first = self.state if self.remember else None
        if not isinstance(x, torch.Tensor):
            first, x = x
        output: torch.Tensor
        output, last = self.rnn(x, None if first is None else first.unsqueeze(0))
        if self.remember:
            self.state = last.squeeze(0).detach()
        return output

    def extra_repr(self) -> str:
        return f"remember={self.remember}"


module_form("state names", VanillaRNN)(("rnn", ("h",)))


@module_form("onnx", VanillaRNN)
class OnnxVanillaRNN(OnnxSequence, VanillaRNN):
    """As `VanillaRNN`."""

    batch_first = True

    @classmethod
    def put(cls, module: VanillaRNN) -> None:
        module.packed = Packed("RNN", module.hidden_size, module.rnn.all_weights)
        del module.rnn
        super().put(module)


@module_form("sequence length", VanillaRNN)
def vanilla_rnn_length(module: VanillaRNN, x: Any) -> int:
    """How many steps a layer makes on `x`, (N, T, D), alone or behind the state to begin with."""
    sequence = x if isinstance(x, torch.Tensor) else x[-1]
    return int(sequence.shape[1])
